"""The public releases of reviews: one object per line, see `layouts`."""

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cached_property, partial
from pathlib import Path

import pyarrow as pa

from rlmrec_core.config.data import IngestConfig
from rlmrec_core.data.canonical import Parse, interaction_batch, item_batch, owned_batch
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import PACKINGS, find_files, refuse_whole_json
from rlmrec_core.data.layouts import LAYOUTS
from rlmrec_core.data.lines import TAR_SUFFIXES, Block, LineFile, read_blocks
from rlmrec_core.data.parallel import in_order
from rlmrec_core.data.reader import Reader


class RawReader(Reader):
    """Any of the releases in `layouts`, in constant memory but for the set of item ids.

    A line that holds no usable object is counted, sampled and skipped; more than `ingest.max_malformed` of them in one
    file raise DataError. `ingest.interactions_file` and `ingest.items_file` replace the release's own file names.
    """

    def __init__(self, config: IngestConfig) -> None:
        super().__init__(config)
        self._layout = LAYOUTS[config.reader]

    def sources(self) -> list[Path]:
        return list(dict.fromkeys(file.path for file in self._review_files + self._item_files))

    def interactions(self) -> Iterator[pa.RecordBatch]:
        for file in self._review_files:
            yield from self.whole(self._without_faults(file, self._parse_of(file)))

    def _parse_of(self, file: LineFile) -> Parse:
        if self._layout.owned and fnmatch(file.path.name, f"{self._layout.owned_files}*"):
            return partial(owned_batch, fields=self._layout.owned)
        return partial(interaction_batch, fields=self._layout.review)

    def items(self) -> Iterator[pa.RecordBatch]:
        """Of an item that is listed more than once, the first."""
        seen: set[str] = set()
        self.counts["items listed again"] = 0
        for file in self._item_files:
            for batch in self.whole(self._without_faults(file, partial(item_batch, fields=self._layout.item))):
                first = _first_times(batch.column("item_id").to_pylist(), seen)
                self.counts["items listed again"] += len(first) - sum(first)
                yield batch.filter(pa.array(first, pa.bool_()))

    def _without_faults(self, file: LineFile, parse: Parse) -> Iterator[pa.RecordBatch]:
        name = str(file)
        self.malformed.start(name)
        n_rows = 0
        for batch, faults, counts in in_order(parse, _usual(read_blocks(file, self.config.encoding))):
            self.malformed.add(name, faults)
            self.counts.update(counts)
            n_rows += batch.num_rows
            yield batch
        self.malformed.finish(name, n_rows)

    @cached_property
    def _review_files(self) -> list[LineFile]:
        asked = self.config.interactions_file
        for usual in (*self._layout.review_files, self._layout.owned_files):
            files = self._find(asked, usual) if usual else []
            # Some releases name the files of reviews by category alone, which fits the files of items, too.
            if files := [file for file in files if file not in self._item_files and not self._is_of_items(file)]:
                return files
        wanted = asked or " or ".join(self._layout.review_files)
        way_out = "check ingest.path, or name the files in ingest.interactions_file"
        raise DataError.at(f"reader {self.config.reader!r} finds no file {wanted}", way_out, file=self.folder)

    def _is_of_items(self, file: LineFile) -> bool:
        return not self.config.interactions_file and fnmatch(file.path.name, f"{self._layout.item_files}*")

    @cached_property
    def _item_files(self) -> list[LineFile]:
        return self._find(self.config.items_file, self._layout.item_files)

    def _find(self, asked: str | tuple[str, ...] | None, usual: str) -> list[LineFile]:
        if asked:
            return [LineFile(path) for path in find_files(self.folder, asked)]
        found = [path for packing in ("", *PACKINGS) for path in find_files(self.folder, usual + packing)]
        whole = {path: path.with_suffix("") if path.suffix in PACKINGS else path for path in found}
        if twice := [path for path, n in Counter(whole.values()).items() if n > 1]:
            raise DataError.at("the file is there twice, plain and packed", "remove one", file=min(twice))
        if found or self._layout.archive is None:
            return [LineFile(path) for path in sorted(found)]
        archives = [path for path in find_files(self.folder, self._layout.archive) if path.name.endswith(TAR_SUFFIXES)]
        return [LineFile(path, usual) for path in archives[:1]]


def _usual(blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks. Raises DataError if they are one JSON text, not lines with one each."""
    for number, block in enumerate(blocks):
        if not number:
            refuse_whole_json(block.data.split(b"\n", 3)[:3], str(block.file))
        yield block


def _first_times(ids: list[str], seen: set[str]) -> list[bool]:
    """Whether each id is new; `seen` grows by those that are."""
    first = []
    for item_id in ids:
        first.append(item_id not in seen)
        seen.add(item_id)
    return first
