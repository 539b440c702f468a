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


def test_own_values_come_before_the_preset():
    config = TrainConfig(n_layers=4, align_tau=0.7, backbone_settings={"lightgcn": {"edge_keep": 0.9}})
    run = config.run("lightgcn", "con", 1)
    assert (run.hyper, run.alignment.tau) == ({"edge_keep": 0.9, "n_layers": 4}, 0.7)


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
