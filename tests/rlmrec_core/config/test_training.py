import subprocess
import sys
from itertools import product
from typing import get_args

import pytest
from pydantic import ValidationError

from rlmrec_core.config import TrainConfig
from rlmrec_core.config.registry import FAMILIES, DataSize, HyperPreset, backbone_settings
from rlmrec_core.config.training import RunSettings

EVERY_MODEL = [(name, variant) for family in FAMILIES for name, variant in product(family.backbones, family.variants)]
EVERY_RUN = [(preset, *model) for preset, model in product(get_args(HyperPreset), EVERY_MODEL)]


@pytest.mark.parametrize(("preset", "backbone", "variant"), EVERY_RUN)
def test_every_preset_makes_a_valid_run(preset, backbone, variant):
    run = TrainConfig(preset=preset).run(backbone, variant, 1)
    assert (run.alignment is None) == (variant == "base")
    assert run.backbone_settings.n_layers >= 1


def test_presets_hold_the_values_of_the_paper():
    steam = TrainConfig(preset="steam")
    assert steam.run("lightgcn", "base", 1).backbone_settings.model_dump() == {"edge_keep": 0.8, "n_layers": 2}
    con, gen = (steam.run("lightgcn", variant, 1) for variant in ("con", "gen"))
    assert (con.backbone_settings.n_layers, con.weight_decay, con.alignment.weight, con.alignment.tau) == (
        3,
        1e-8,
        1e-3,
        0.1,
    )
    assert (gen.backbone_settings.n_layers, gen.weight_decay, gen.alignment.mask_ratio, gen.alignment.tau) == (
        2,
        1e-6,
        0.15,
        0.5,
    )


@pytest.mark.parametrize(
    ("backbone", "variant", "preset", "hyper", "weight_decay", "alignment"),
    [
        ("gccf", "base", "yelp", {"n_layers": 2, "self_loops": True}, 1e-6, None),
        ("gccf", "con", "steam", {"n_layers": 2, "self_loops": False}, 1e-6, (1e-2, 0.5, None)),
        ("gccf", "gen", "amazon-book", {"n_layers": 2, "self_loops": False}, 1e-7, (0.01, 0.1, 0.1)),
        ("sgl", "base", "yelp", {"n_layers": 3, "edge_keep": 0.8, "cl_weight": 1e-3, "cl_tau": 0.1}, 1e-6, None),
        (
            "sgl",
            "con",
            "yelp",
            {"n_layers": 3, "edge_keep": 0.8, "cl_weight": 0.1, "cl_tau": 0.2},
            1e-5,
            (0.01, 1, None),
        ),
        (
            "sgl",
            "gen",
            "steam",
            {"n_layers": 3, "edge_keep": 0.8, "cl_weight": 0.1, "cl_tau": 0.5},
            1e-5,
            (0.1, 0.2, 0.1),
        ),
        ("simgcl", "base", "steam", {"n_layers": 3, "cl_weight": 0.1, "cl_tau": 0.5, "eps": 0.2}, 1e-5, None),
        (
            "simgcl",
            "gen",
            "yelp",
            {"n_layers": 3, "cl_weight": 0.1, "cl_tau": 0.2, "eps": 0.9},
            1e-5,
            (0.01, 0.05, 0.01),
        ),
        ("dccf", "con", "steam", {"n_layers": 3, "cl_weight": 1e-3, "cl_tau": 0.1}, 1e-3, (0.01, 0.5, None)),
        ("dccf", "gen", "yelp", {"n_layers": 2, "cl_weight": 1e-3, "cl_tau": 0.1}, 1e-4, (0.01, 0.1, 0.05)),
        ("autocf", "base", "yelp", {"n_layers": 3, "ssl_weight": 2}, 1e-7, None),
        ("autocf", "con", "amazon-book", {"n_layers": 2, "ssl_weight": 1}, 1e-6, (0.1, 0.5, None)),
        ("autocf", "gen", "yelp", {"n_layers": 2, "ssl_weight": 1}, 1e-8, (0.1, 0.1, 0.2)),
    ],
)
def test_presets_of_the_other_backbones(backbone, variant, preset, hyper, weight_decay, alignment):
    run = TrainConfig(preset=preset).run(backbone, variant, 1)
    found = run.alignment and (run.alignment.weight, run.alignment.tau, getattr(run.alignment, "mask_ratio", None))
    own = run.backbone_settings.model_dump()
    assert ({name: own[name] for name in hyper}, run.weight_decay, found) == (hyper, weight_decay, alignment)


def test_own_values_come_before_the_preset():
    own = {"lightgcn": {"edge_keep": 0.9, "n_layers": 4}}
    config = TrainConfig(weight_decay=0.5, alignment_settings={"con": {"tau": 0.7}}, backbone_settings=own)
    run = config.run("lightgcn", "con", 1)
    assert run.backbone_settings.model_dump() == {"edge_keep": 0.9, "n_layers": 4}
    assert (run.alignment.tau, run.alignment.weight, run.weight_decay) == (0.7, 0.01, 0.5)


def test_settings_come_back_from_json_with_their_own_types():
    for backbone, variant in EVERY_MODEL:
        run = TrainConfig(patience=3).run(backbone, variant, 1)
        assert RunSettings.model_validate_json(run.model_dump_json()) == run
        assert type(run.backbone_settings) is backbone_settings(backbone)
    config = TrainConfig(backbone_settings={"sgl": {"cl_in_batch": "true"}, "gccf": {"n_layers": None}})
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert config.backbone_settings == {"sgl": {"cl_in_batch": True}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone_settings": {"lightgcn": {"edge_kep": 1}}}, "lightgcn has no setting 'edge_kep'; it has n_layers"),
        ({"backbone_settings": {"lightgcn": {"n_layers": 0}}}, "greater than or equal to 1"),
        ({"backbone_settings": {"ligtgcn": {"n_layers": 1}}}, "ligtgcn"),
        (
            {"alignment_settings": {"con": {"mask_ratio": 0.1}}},
            "con has no setting 'mask_ratio'; it has shuffle, bf16, weight, tau",
        ),
        ({"alignment_settings": {"gen": {"tau": 0.01}}}, r"greater than or equal to 0\.03"),
        ({"grid": {"n_layer": (1, 2)}}, "n_layer"),
        ({"grid": {"backbone_settings": {"sgl": {"eps": [1]}}}}, "sgl has no setting 'eps'"),
        ({"grid": {"seeds": ()}}, "seeds"),
    ],
)
def test_a_wrong_setting_is_told_at_once(wrong, message):
    with pytest.raises(ValidationError, match=message):
        TrainConfig(**wrong)


def test_a_grid_names_every_combination_once():
    grid = {"backbone_settings": {"lightgcn": {"n_layers": [2, 3]}}, "learning_rate": [0.1, 0.2]}
    config = TrainConfig(variants=("base",), grid=grid)
    assert config.grid == {"backbone_settings.lightgcn.n_layers": (2, 3), "learning_rate": (0.1, 0.2)}
    found = [(run.backbone_settings.n_layers, run.learning_rate) for run in config.runs()]
    assert found == [(2, 0.1), (2, 0.2), (3, 0.1), (3, 0.2)]
    # GCCF has no such setting: its two models are trained once.
    both = TrainConfig(variants=("base",), backbones=("lightgcn", "gccf"), grid=grid).runs()
    assert [run.backbone for run in both].count("gccf") == 2
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_form_offers_what_the_models_declare():
    fields = TrainConfig.model_json_schema()["properties"]
    assert next(iter(fields)) == "backbones"
    sgl = fields["backbone_settings"]["properties"]["sgl"]["properties"]
    assert sgl["cl_tau"] == {
        "description": "Temperature of the contrast", "minimum": 0.03, "title": "Cl Tau", "type": "number",
    }  # fmt: skip
    assert "mask_ratio" in fields["alignment_settings"]["properties"]["gen"]["properties"]


def test_reading_settings_loads_no_model():
    code = "import sys; from rlmrec_core.config import load_config; load_config(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(("backbone", "variant"), EVERY_MODEL)
def test_the_paper_protocol_leaves_our_own_search_out(backbone, variant):
    for ours, theirs in (("movielens", "amazon-book"), ("xrec-yelp", "yelp"), ("sample", "amazon-book")):
        run = TrainConfig(preset=ours, protocol="paper").run(backbone, variant, 1)
        assert run == TrainConfig(preset=theirs, protocol="paper").run(backbone, variant, 1)
        assert run.patience == 5
    assert TrainConfig(preset="movielens", protocol="paper") != TrainConfig(preset="movielens")


def test_patience_is_the_presets_unless_it_is_given():
    assert TrainConfig(preset="amazon-book").run("sgl", "base", 1).patience == 5
    assert TrainConfig(preset="yelp").run("sgl", "base", 1).patience == 10
    assert TrainConfig(preset="yelp", patience=3).run("sgl", "base", 1).patience == 3


def test_bfloat16_is_part_of_aligned_runs_alone():
    plain, rounded = TrainConfig(), TrainConfig(alignment_settings={"con": {"bf16": True}})
    assert plain.run("lightgcn", "base", 1) == rounded.run("lightgcn", "base", 1)
    assert rounded.run("lightgcn", "con", 1).alignment.bf16
    assert plain.run("lightgcn", "con", 1) != rounded.run("lightgcn", "con", 1)


def test_what_does_not_matter_to_a_run_stays_out_of_it():
    plain = TrainConfig()
    aligned = {"con": {"weight": 0.5, "shuffle": True}, "gen": {"mask_ratio": 0.5}}
    changed = TrainConfig(alignment_settings=aligned, variants=("base",), seeds=(1, 2))
    assert plain.run("lightgcn", "base", 1) == changed.run("lightgcn", "base", 1)
    con = TrainConfig(alignment_settings={"gen": {"mask_ratio": 0.5}}).run("lightgcn", "con", 1)
    assert con == plain.run("lightgcn", "con", 1)
    assert con != plain.run("lightgcn", "con", 2)


def test_alignment_settings_must_fit_the_variant():
    base = TrainConfig().run("lightgcn", "base", 1).model_dump()
    with pytest.raises(ValidationError, match="belong to con, gen and kar"):
        type(TrainConfig().run("lightgcn", "base", 1)).model_validate(base | {"variant": "con"})


def test_settings_of_one_model_go_before_those_of_all():
    own = {"learning_rate": 0.02, "backbone_settings": {"n_layers": 1}, "alignment": {"tau": 0.7}}
    others = {"learning_rate": 0.01, "alignment_settings": {"con": {"tau": 0.3, "weight": 0.4}}}
    config = TrainConfig(per_model={"lightgcn": {"con": own}}, **others)
    con, base = config.run("lightgcn", "con", 1), config.run("lightgcn", "base", 1)
    assert (con.learning_rate, con.backbone_settings.n_layers) == (0.02, 1)
    assert (con.alignment.tau, con.alignment.weight) == (0.7, 0.4)
    assert base == TrainConfig(learning_rate=0.01).run("lightgcn", "base", 1)


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"con": {"learning_rate": -1}}, "greater than 0"),
        ({"con": {"alignment": {"tua": 1}}}, "tua"),
        ({"base": {"alignment": {"tau": 1}}}, "belong to con, gen and kar"),
    ],
)
def test_settings_of_one_model_are_checked(own, complaint):
    with pytest.raises(ValidationError, match=complaint):
        TrainConfig(per_model={"lightgcn": own})


SMALL, LARGE = DataSize(600, 400, 8_000), DataSize(60_000, 40_000, 8_000_000)


@pytest.mark.parametrize(("backbone", "variant"), EVERY_MODEL)
def test_starting_values_fit_every_model_and_size(backbone, variant):
    config = TrainConfig(preset="auto")
    runs = [config.run(backbone, variant, 1, size) for size in (None, SMALL, LARGE, DataSize(0, 0, 0))]
    assert len({run.weight_decay for run in runs}) == (1 if backbone == "cllm4rec" else 4)


def test_starting_values_follow_size_and_density():
    config = TrainConfig(preset="auto")
    small, large = (config.run("sgl", "con", 1, size) for size in (SMALL, LARGE))
    assert small.weight_decay == pytest.approx(100 * large.weight_decay) and small.patience == 10
    assert (small.backbone_settings.cl_in_batch, small.alignment.in_batch) == (False, False)
    assert (large.backbone_settings.cl_in_batch, large.alignment.in_batch) == (True, True)
    assert (small.backbone_settings.n_layers, large.backbone_settings.n_layers) == (3, 2)
    few, many = (config.run("weft", "base", 1, size).backbone_settings for size in (SMALL, LARGE))
    assert (few.dropout, many.dropout) == (0.5, 0.2)
    assert config.model_copy(update={"weight_decay": 0.5}).run("sgl", "con", 1, SMALL).weight_decay == 0.5
    assert config.runs(SMALL)[0] != config.runs(LARGE)[0]
