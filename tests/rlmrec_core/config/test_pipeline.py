"""Settings: what wins over what, and that a slip of the pen is an error."""

from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from rlmrec_core.config import PipelineConfig, SettingsError, config_toml, load_config
from rlmrec_core.config.pipeline import DatasetName


def test_nothing_given_is_the_sample() -> None:
    assert load_config() == PipelineConfig()
    assert load_config().ingest.reader == "sample"


@pytest.mark.parametrize("name", get_args(DatasetName))
def test_every_preset_is_valid(name: str) -> None:
    reader = load_config(dataset=name).ingest.reader
    assert reader == "splits" or name.partition("-")[0] == reader.partition("-")[0]


def test_later_wins_and_neighbours_stay(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('dataset = "movielens"\n[prepare]\nk_core = 5\nseed = 7\n[train]\nbatch_size = 512\n')
    config = load_config(file, overrides={"prepare": {"seed": 8}})
    assert config.ingest.reader == "movielens"
    assert (config.prepare.k_core, config.prepare.seed, config.prepare.ratios) == (5, 8, (3, 1, 1))
    assert config.train.batch_size == 512 and config.item_profiles.domain == "movies"


def test_an_argument_overrides_the_data_set_named_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('dataset = "movielens"\n')
    assert load_config(file, dataset="xrec-yelp").ingest.reader == "splits"


def test_an_unknown_field_or_data_set_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[prepare]\nkcore = 5\n")
    with pytest.raises(SettingsError, match=r"kcore: there is no such setting: did you mean k_core\?"):
        load_config(file)
    with pytest.raises(ValueError, match="choose one of sample"):
        load_config(dataset="netflix")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PipelineConfig().prepare.k_core = 3  # type: ignore[misc]


OVERRIDES: list[dict[str, Any]] = [
    {"prepare": {"since": date(2020, 1, 2), "min_rating": "none", "ratios": [8, 1, 1]}, "name": "shop"},
    {"train": {"grid": {"learning_rate": [0.1, 0.2]}, "seeds": [1, 2]}, "ingest": {"path": 'a "quoted" \\ path\n'}},
    {"search": {"ranges": {"embedding_size": {"choices": [32, 64]}, "alignment": {"tau": {"low": 0.1, "high": 1}}}}},
    {"train": {"per_model": {"cllm4rec": {"base": {"backbone_settings": {"model": "none", "n_layers": 2}}}}}},
]


@pytest.mark.parametrize("name", get_args(DatasetName))
@pytest.mark.parametrize("overrides", [{}, *OVERRIDES])
def test_settings_written_as_toml_are_read_back(tmp_path: Path, name: str, overrides: dict[str, Any]) -> None:
    config = load_config(dataset=name, overrides=overrides)
    file = tmp_path / "own.toml"
    file.write_text(config_toml(config), encoding="utf-8")
    assert load_config(file) == config


def test_settings_at_their_defaults_are_not_written() -> None:
    assert config_toml(PipelineConfig()) == ""
