from itertools import product
from typing import get_args

import pytest
from pydantic import ValidationError

from rlmrec_core.config import TrainConfig
from rlmrec_core.config.presets import HyperPreset
from rlmrec_core.config.training import BackboneName, VariantName

EVERY_RUN = list(product(get_args(HyperPreset), get_args(BackboneName), get_args(VariantName)))


@pytest.mark.parametrize(("preset", "backbone", "variant"), EVERY_RUN)
def test_every_preset_makes_a_valid_run(preset, backbone, variant):
    run = TrainConfig(preset=preset).run(backbone, variant, 1)
    assert (run.alignment is None) == (variant == "base")
    assert run.hyper["n_layers"] >= 1


def test_presets_hold_the_values_of_the_paper():
    steam = TrainConfig(preset="steam")
    assert steam.run("lightgcn", "base", 1).hyper == {"edge_keep": 0.8, "n_layers": 2}
    con, gen = (steam.run("lightgcn", variant, 1) for variant in ("con", "gen"))
    assert (con.hyper["n_layers"], con.weight_decay, con.alignment.weight, con.alignment.tau) == (3, 1e-8, 1e-3, 0.1)
    assert (gen.hyper["n_layers"], gen.weight_decay, gen.alignment.mask_ratio, gen.alignment.tau) == (
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
    found = run.alignment and (run.alignment.weight, run.alignment.tau, run.alignment.mask_ratio)
    assert (run.hyper, run.weight_decay, found) == (hyper, weight_decay, alignment)


def test_own_values_come_before_the_preset():
    config = TrainConfig(n_layers=4, align_tau=0.7, backbone_settings={"lightgcn": {"edge_keep": 0.9}})
    run = config.run("lightgcn", "con", 1)
    assert (run.hyper, run.alignment.tau) == ({"edge_keep": 0.9, "n_layers": 4}, 0.7)


@pytest.mark.parametrize(("backbone", "variant"), list(product(get_args(BackboneName), get_args(VariantName))))
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
    plain, rounded = TrainConfig(), TrainConfig(align_bf16=True)
    assert plain.run("lightgcn", "base", 1) == rounded.run("lightgcn", "base", 1)
    assert rounded.run("lightgcn", "con", 1).alignment.bf16
    assert plain.run("lightgcn", "con", 1) != rounded.run("lightgcn", "con", 1)


def test_what_does_not_matter_to_a_run_stays_out_of_it():
    plain = TrainConfig()
    changed = TrainConfig(align_weight=0.5, mask_ratio=0.5, variants=("base",), seeds=(1, 2), shuffle_semantics=True)
    assert plain.run("lightgcn", "base", 1) == changed.run("lightgcn", "base", 1)
    con = TrainConfig(mask_ratio=0.5).run("lightgcn", "con", 1)
    assert con == plain.run("lightgcn", "con", 1)
    assert con != plain.run("lightgcn", "con", 2)


def test_alignment_settings_must_fit_the_variant():
    base = TrainConfig().run("lightgcn", "base", 1).model_dump()
    with pytest.raises(ValidationError, match="belong to con and gen"):
        type(TrainConfig().run("lightgcn", "base", 1)).model_validate(base | {"variant": "con"})
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.03"):
        TrainConfig(align_tau=0.01)
