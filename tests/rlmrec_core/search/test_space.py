from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.config import SearchConfig, SearchRange, SettingsError, TrainConfig
from rlmrec_core.config.registry import FAMILIES
from rlmrec_core.search import Space, space_of

EVERY_MODEL = [pair for family in FAMILIES for pair in product(family.backbones, family.variants)]


def start(backbone="lightgcn", variant="con", **own):
    return TrainConfig(per_model={backbone: {variant: own}}).run(backbone, variant, 1)


def names(space: Space) -> list[str]:
    return [one.name for one in space.dimensions]


def values_of(span: SearchRange, whole: bool) -> st.SearchStrategy:
    if span.choices:
        return st.sampled_from(span.choices)
    return st.integers(int(span.low), int(span.high)) if whole else st.floats(span.low, span.high)


@pytest.mark.parametrize(("backbone", "variant"), EVERY_MODEL)
def test_whatever_a_model_declares_makes_a_valid_run(backbone, variant):
    space = space_of(start(backbone, variant), SearchConfig())
    assert space.dimensions

    @given(st.fixed_dictionaries({one.name: values_of(one.range, one.whole) for one in space.dimensions}))
    def check(values):
        rounded = {one.name: one.rounded(values[one.name]) for one in space.dimensions}
        flat = space.settings(rounded).flat()
        assert {name: flat[name] for name in rounded} == rounded

    check()


def test_a_model_is_searched_over_what_it_its_alignment_and_its_training_declare():
    assert names(space_of(start(), SearchConfig())) == [
        "learning_rate",
        "weight_decay",
        "backbone_settings.n_layers",
        "backbone_settings.edge_keep",
        "alignment.weight",
        "alignment.tau",
    ]
    assert "alignment.mask_ratio" in names(space_of(start(variant="gen"), SearchConfig()))
    assert not [name for name in names(space_of(start(variant="base"), SearchConfig())) if "alignment" in name]


def test_cllm4rec_is_not_searched_over_what_it_does_not_read():
    found = names(space_of(start("cllm4rec", "base"), SearchConfig()))
    assert "backbone_settings.finetune_learning_rate" in found and "learning_rate" not in found


def test_what_is_searched_can_be_chosen():
    chosen = SearchConfig(
        settings=("alignment.tau", "embedding_size"), ranges={"embedding_size": {"choices": [32, 64]}}
    )
    space = space_of(start(), chosen)
    assert sorted(names(space)) == ["alignment.tau", "embedding_size"]
    assert space.settings({"embedding_size": 64}).embedding_size == 64


def test_ranges_are_read_as_toml_writes_them():
    nested = SearchConfig.model_validate({"ranges": {"alignment": {"tau": {"low": 0.1, "high": 0.5}}}})
    dotted = SearchConfig.model_validate({"ranges": {"alignment.tau": {"low": 0.1, "high": 0.5}}})
    assert nested == dotted == SearchConfig.model_validate(dotted.model_dump(mode="json"))


def test_the_start_is_within_the_range():
    (tau,) = space_of(start(alignment={"tau": 3.0}), SearchConfig(settings=("alignment.tau",))).dimensions
    assert (tau.range, tau.start) == (SearchRange(0.05, 3.0, log=True), 3.0)
    (decay,) = space_of(start(weight_decay=0.0), SearchConfig(settings=("weight_decay",))).dimensions
    assert decay.range.low > 0 and decay.start == 0.0


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"settings": ["alignment.tua"]}, "no setting alignment.tua: did you mean alignment.tau"),
        ({"settings": ["max_epochs"]}, "max_epochs of lightgcn con has no range"),
        ({"ranges": {"seed": {"low": 1, "high": 9}}}, "no setting seed"),
        ({"ranges": {"alignment": {"tau": {"low": 0.0, "high": 1.0}}}}, "alignment.tau = 0.0.*greater than"),
        ({"ranges": {"backbone_settings": {"n_layers": {"low": 1, "high": 99}}}}, "n_layers = 99.*less than"),
    ],
)
def test_what_cannot_be_searched_is_told(config, complaint):
    with pytest.raises(SettingsError, match=complaint):
        space_of(start(), SearchConfig.model_validate(config))


@pytest.mark.parametrize(
    "wrong",
    [{}, {"low": 1}, {"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, {"low": 0, "high": 1, "lgo": 1}],
)
def test_a_range_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match=r"range|low|lgo"):
        SearchConfig.model_validate({"ranges": {"learning_rate": wrong}})
