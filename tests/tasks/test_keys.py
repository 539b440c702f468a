"""Keys last: a new setting re-keys nothing, and a changed default never passes for the old one.

`defaults.json` remembers every default that keys leave out, with the version of the stage that reads it. After a
change: `python -m tests.tasks.test_keys` brings it up to date; it refuses a changed default without a new version.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model
from pydantic_core import to_jsonable_python

from rlmrec_core.config import (
    EmbedConfig,
    EvaluateConfig,
    IngestConfig,
    PrepareConfig,
    ProfileConfig,
    ReasonsConfig,
    RecommendConfig,
    RerankConfig,
)
from rlmrec_core.config.registry import FAMILIES, alignment_settings, backbone_settings
from rlmrec_core.config.section import NOT_IN_KEY, InKey, NotInKey, Section, key_fields
from rlmrec_core.config.training import RunSettings
from storage import artifact_key
from tasks import embed, evaluate, ingest, item_profiles, prepare, reasons, recommend, rerank, train, user_profiles

RECORD = Path(__file__).with_name("defaults.json")
STAGES: dict[str, tuple[int, type[BaseModel]]] = {
    "ingest": (ingest.VERSION, IngestConfig),
    "prepare": (prepare.VERSION, PrepareConfig),
    "item_profiles": (item_profiles.VERSION, ProfileConfig),
    "user_profiles": (user_profiles.VERSION, ProfileConfig),
    "embed": (embed.VERSION, EmbedConfig),
    "train": (train.VERSION, RunSettings),
    "evaluate": (evaluate.VERSION, EvaluateConfig),
    "recommend": (recommend.VERSION, RecommendConfig),
    "reasons": (reasons.VERSION, ReasonsConfig),
    "rerank": (rerank.VERSION, RerankConfig),
}
RUN = RunSettings(
    backbone="lightgcn", variant="con", seed=1, weight_decay=0.0, backbone_settings={"n_layers": 2},
    alignment={"weight": 0.1, "in_batch": True},
)  # fmt: skip


def recorded(settings: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every default that a key leaves out, by its dotted name, those of sections within included."""
    found: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        if any(isinstance(mark, NotInKey) for mark in field.metadata):
            continue
        for section in sections_in(field.annotation):
            found |= recorded(section, f"{prefix}{name}.{section.__name__}.")
        if not field.is_required():
            marked = [mark.left_out for mark in field.metadata if isinstance(mark, InKey) and mark.left_out]
            default = marked[0] if marked else field.get_default(call_default_factory=True)
            found[prefix + name] = (key_fields if isinstance(default, BaseModel) else to_jsonable_python)(default)
    return found


def of_models() -> dict[str, Any]:
    """The defaults that models declare beside their code, by family or backbone."""
    found: dict[str, Any] = {}
    for family in FAMILIES:
        for backbone in family.backbones:
            found |= recorded(backbone_settings(backbone), f"{backbone}.")
        for variant in family.variants:
            if declared := alignment_settings(family.backbones[0], variant):
                found |= recorded(declared, f"{family.name}.{variant}.")
    return found


def defaults_of(stage: str) -> dict[str, Any]:
    return recorded(STAGES[stage][1]) | (of_models() if stage == "train" else {})


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from sections_in(inner)


def faults(stage: str, old: dict[str, Any]) -> list[str]:
    """What is wrong between the record of a stage and its code of now."""
    version, defaults = STAGES[stage][0], defaults_of(stage)
    if version != old["version"]:
        return []
    changed = [name for name, value in old["defaults"].items() if name in defaults and defaults[name] != value]
    return [
        f"{stage}: the default of {name} was {old['defaults'][name]!r} and is {defaults[name]!r}; keys leave it out, "
        f"so that artifacts made with the old one would pass for new ones: raise VERSION in tasks/{stage}.py"
        for name in changed
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_a_changed_default_raises_the_version_of_its_stage(stage):
    old = json.loads(RECORD.read_text())[stage]
    assert not faults(stage, old)
    assert old == {"version": STAGES[stage][0], "defaults": defaults_of(stage)}, "run python -m tests.tasks.test_keys"


def test_a_changed_default_without_a_new_version_is_told():
    old = {"version": evaluate.VERSION, "defaults": {"ks": [1], "gone": 3}}
    (fault,) = faults("evaluate", old)
    assert "ks was [1]" in fault and "raise VERSION in tasks/evaluate.py" in fault
    assert not faults("evaluate", {**old, "version": evaluate.VERSION - 1})


@pytest.mark.parametrize("settings", [settings for _, settings in STAGES.values()])
def test_a_new_field_with_a_default_changes_no_key(settings):
    now = RUN if settings is RunSettings else settings()
    grown = create_model("Grown", __base__=settings, brand_new=(float, Field(0.5)))
    later = grown.model_validate(now.model_dump())
    assert later.brand_new == 0.5
    assert key_of(later) == key_of(now)
    assert key_of(later.model_copy(update={"brand_new": 0.6})) != key_of(now)


def test_nor_does_one_in_a_section_within():
    class Inner(Section):
        a: int = 1

    class Grown(Inner):
        b: int = 2

    def outer(inner: type[Inner], value: Inner) -> BaseModel:
        return create_model("Outer", __base__=Section, inner=(inner, inner()), other=(inner | None, None))(inner=value)

    assert key_of(outer(Inner, Inner())) == key_of(outer(Grown, Grown()))
    assert key_of(outer(Inner, Inner(a=5))) == key_of(outer(Grown, Grown(a=5)))
    assert key_of(outer(Grown, Grown(b=5))) != key_of(outer(Grown, Grown()))


class _Inner(Section):
    model: str = "m"
    timeout: Annotated[float, NOT_IN_KEY] = 1.0


class _Outer(Section):
    required: int
    ks: tuple[int, ...] = (5, 10)
    rate: float = 1
    inner: _Inner = _Inner()
    maybe: _Inner | None = None
    several: tuple[_Inner, ...] = ()


def test_what_a_key_is_taken_from():
    assert key_fields(_Outer(required=3)) == {"required": 3}
    assert key_fields(_Outer(required=3, rate=1.0, inner=_Inner(timeout=9))) == {"required": 3}
    assert key_fields(_Outer(required=3, ks=(5,), inner=_Inner(model="n"))) == {
        "required": 3,
        "ks": [5],
        "inner": {"model": "n"},
    }
    assert key_fields(_Outer(required=3, maybe=_Inner())) == {"required": 3, "maybe": {}}
    assert key_fields(_Outer(required=3, several=(_Inner(timeout=5),))) == {"required": 3, "several": [{}]}


def test_one_server_has_one_key_however_it_is_spelt():
    spellings = ("http://127.0.0.1:8000/v1", "http://localhost:8000/v1/", "HTTP://[::1]:8000/v1")
    keys = [key_fields(EmbedConfig(encoder="openai", model="e", base_url=address)) for address in spellings]
    assert keys == [keys[0]] * 3 and keys[0]["base_url"] == spellings[0]


inners = st.builds(_Inner, model=st.sampled_from("mn"), timeout=st.sampled_from([1.0, 2.0]))
outers = st.builds(
    _Outer,
    required=st.integers(0, 1),
    ks=st.sampled_from([(), (5,), (5, 10)]),
    rate=st.sampled_from([1.0, 2.0]),
    inner=inners,
    maybe=st.none() | inners,
    several=st.lists(inners, max_size=2),
)


@given(outers, outers)
def test_equal_keys_mean_equal_settings_but_for_what_is_marked(one, other):
    def without_timeouts(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without_timeouts(inner) for name, inner in value.items() if name != "timeout"}
        return [without_timeouts(inner) for inner in value] if isinstance(value, list | tuple) else value

    same = without_timeouts(one.model_dump()) == without_timeouts(other.model_dump())
    assert (key_fields(one) == key_fields(other)) == same


def key_of(settings: BaseModel) -> str:
    return artifact_key("stage", 1, key_fields(settings), {})


def main() -> None:
    """Bring the record up to date. Raises SystemExit if a default changed and its stage's version did not."""
    old = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if told := [fault for stage in old if stage in STAGES for fault in faults(stage, old[stage])]:
        raise SystemExit("\n".join(told))
    new = {stage: {"version": version, "defaults": defaults_of(stage)} for stage, (version, _) in STAGES.items()}
    RECORD.write_text(json.dumps(new, indent=1) + "\n")


if __name__ == "__main__":
    main()
