"""Profiles that came with the data set."""

from collections.abc import Iterator

import pyarrow as pa

from rlmrec_core.llm.calls import sha256_of
from rlmrec_core.profiling.rows import ProfileRow
from rlmrec_core.tables import IMPORTED_PROFILES, check


def imported_rows(ids: pa.Array, profiles: pa.Table) -> Iterator[ProfileRow]:
    """One row per id, in the order of `ids`; missing where `profiles` has none for it, or a blank one."""
    table = check(profiles, IMPORTED_PROFILES, "imported profiles")
    ready = {row["id"]: row for row in table.to_pylist() if row["summarization"].strip()}
    for position, name in enumerate(ids.to_pylist()):
        found = ready.get(name)
        if found is None:
            yield ProfileRow(position, "imported", "missing", error="no ready-made profile came with the data")
            continue
        text, reasoning = found["summarization"].strip(), found["reasoning"]
        digest = sha256_of([text, reasoning])
        yield ProfileRow(position, "imported", "ok", text, reasoning, source_hash=digest)
