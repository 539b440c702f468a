"""The whole pipeline's settings, its presets per data set, and the reader of a config file."""

import codecs
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w
from pydantic import Field, ValidationError

from rlmrec_core.config.data import IngestConfig, PrepareConfig
from rlmrec_core.config.engine import EngineConfig
from rlmrec_core.config.faults import SettingsError, quoted, settings_error
from rlmrec_core.config.gates import GatesConfig
from rlmrec_core.config.ranking import EvaluateConfig, RecommendConfig
from rlmrec_core.config.reasons import ReasonsConfig
from rlmrec_core.config.rerank import RerankConfig
from rlmrec_core.config.search import SearchConfig
from rlmrec_core.config.section import Section
from rlmrec_core.config.text import EmbedConfig, ProfileConfig
from rlmrec_core.config.training import TrainConfig

RawDatasetName = Literal["amazon-2014", "amazon-2018", "amazon-2023", "goodreads"]
RecipeName = Literal["amazon-book-raw", "yelp-raw", "steam-raw"]
DatasetName = Literal[
    "sample",
    "movielens",
    "tabular",
    "splits",
    "rlmrec-release",
    "amazon-book",
    "yelp",
    "xrec-yelp",
    RawDatasetName,
    RecipeName,
]


class PipelineConfig(Section):
    """Settings of every stage, and of the engine that runs them. The defaults run the embedded sample."""

    name: str | None = Field(
        None,
        pattern="^[a-z0-9][a-z0-9._-]{0,63}$",
        description="Name of the data set, in small letters, digits and . _ -: refreshes, gates, promotions and reruns "
        "of a stage know its runs by it; none makes one of reader and path",
    )
    ingest: IngestConfig = Field(IngestConfig(), description="Where raw data comes from")
    prepare: PrepareConfig = Field(PrepareConfig(k_core=5), description="Filtering and split")
    item_profiles: ProfileConfig = Field(ProfileConfig(domain="books"), description="Profiles of items")
    user_profiles: ProfileConfig = Field(ProfileConfig(domain="books"), description="Profiles of users")
    embed: EmbedConfig = Field(EmbedConfig(), description="Semantic vectors")
    train: TrainConfig = Field(TrainConfig(preset="sample"), description="Backbones and alignment")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="Metrics")
    recommend: RecommendConfig = Field(RecommendConfig(), description="Top-K lists")
    reasons: ReasonsConfig = Field(ReasonsConfig(), description="Why each item stands in each list")
    gates: GatesConfig = Field(GatesConfig(), description="What a run must be like for its lists to be put to use")
    rerank: RerankConfig = Field(
        RerankConfig(), description="Candidates in the order of a language model (figure1); a run does not read it"
    )
    search: SearchConfig = Field(SearchConfig(), description="Search of hyper-parameters; a run does not read it")
    engine: EngineConfig = Field(EngineConfig(), description="Where the work is done; changes no result")

    @property
    def data_name(self) -> str:
        """The data set's name: the one that was given, else one of reader and path."""
        return self.name or self.ingest.data_name


_READY_MADE = {"min_rating": None, "k_core": 1}


def _raw(reader: str, domain: str, train: str, prepare: dict[str, Any] | None = None) -> dict[str, Any]:
    """A public release of reviews, read as it is."""
    profiles = {"domain": domain}
    return {
        "ingest": {"reader": reader},
        "prepare": prepare or {},
        "item_profiles": profiles,
        "user_profiles": profiles,
        "train": {"preset": train},
    }


_PRESETS: dict[str, dict[str, Any]] = {
    "sample": {},
    "amazon-2014": _raw("amazon-2014", "generic", "auto"),
    "amazon-2018": _raw("amazon-2018", "generic", "auto"),
    "amazon-2023": _raw("amazon-2023", "generic", "auto"),
    "goodreads": _raw("goodreads", "books", "auto"),
    # How the paper's sets were made from raw files, as far as that is known: docs/raw-data.md.
    "amazon-book-raw": _raw("amazon-2014", "books", "amazon-book", {"min_rating": 3.0, "user_fraction": 0.2}),
    "yelp-raw": _raw("yelp", "businesses", "yelp", {"min_rating": 3.0, "user_fraction": 0.25}),
    "steam-raw": _raw("steam", "games", "steam", {"min_rating": None, "user_fraction": 0.25}),
    "movielens": {
        "ingest": {"reader": "movielens"},
        "item_profiles": {"domain": "movies"},
        "user_profiles": {"domain": "movies"},
        "train": {"preset": "movielens"},
    },
    "tabular": {
        "ingest": {"reader": "tabular"},
        "item_profiles": {"domain": "generic"},
        "user_profiles": {"domain": "generic"},
        "train": {"preset": "auto"},
        # The lists go to people, so that they are made from everything that is known of them.
        "recommend": {"fit_on": "all"},
    },
    "splits": {
        "ingest": {"reader": "splits"},
        "prepare": _READY_MADE,
        "item_profiles": {"domain": "generic"},
        "user_profiles": {"domain": "generic"},
        "train": {"preset": "auto"},
    },
    # The paper's data as its authors publish them, with profiles and vectors.
    "rlmrec-release": {
        "ingest": {"reader": "rlmrec-release"},
        "prepare": _READY_MADE,
        "item_profiles": {"domain": "generic", "generator": "imported"},
        "user_profiles": {"domain": "generic", "generator": "imported"},
        "embed": {"encoder": "imported"},
        "train": {"preset": "amazon-book"},
    },
    # The paper's published splits carry no text: Base only.
    "amazon-book": {
        "ingest": {"reader": "splits"},
        "prepare": _READY_MADE,
        "train": {"preset": "amazon-book", "variants": ("base",)},
    },
    "yelp": {
        "ingest": {"reader": "splits"},
        "prepare": _READY_MADE,
        "train": {"preset": "yelp", "variants": ("base",)},
    },
    "xrec-yelp": {
        "ingest": {"reader": "splits"},
        "prepare": _READY_MADE,
        "item_profiles": {"domain": "businesses", "generator": "imported"},
        "user_profiles": {"domain": "businesses"},
        # Chosen on validation: better than vectors of the extractive profiles of users (docs/benchmarks/xrec-yelp.md).
        "embed": {"user_vectors": "item_mean"},
        "train": {"preset": "xrec-yelp"},
    },
}


def dataset_preset(name: str) -> dict[str, Any]:
    """The settings of a known data set, as overrides of `PipelineConfig`'s defaults. Raises SettingsError on others."""
    known = get_args(DatasetName)
    if name not in known:
        near = get_close_matches(str(name), known, 1, 0.5)
        meant = f"did you mean {near[0]}? " if near else ""
        raise SettingsError(f"unknown data set {quoted('dataset', name)}: {meant}choose one of {', '.join(known)}")
    return _PRESETS[name]


def load_config(
    file: Path | None = None, dataset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> PipelineConfig:
    """Merge, later wins: defaults, data-set preset, TOML file, overrides.

    The file's top-level key `dataset` names the preset when the argument does not.
    Raises SettingsError, which says in words what is wrong, and where.
    """
    from_file = _read_toml(file) if file else {}
    named = from_file.pop("dataset", None)
    name = dataset or named or "sample"
    merged = _merge(_merge(dataset_preset(name), from_file), overrides or {})
    # The sample's histories are short; every other data set has the paper's filter, unless its own preset says more.
    defaults = PipelineConfig() if name == "sample" else PipelineConfig(prepare=PrepareConfig())
    try:
        return PipelineConfig.model_validate(_merge(defaults.model_dump(), merged))
    except ValidationError as error:
        raise settings_error(error, PipelineConfig) from None


def config_toml(config: PipelineConfig) -> str:
    """The settings as a file that `load_config` reads: all that is not at its default, whatever the data set."""
    found = _beyond(PipelineConfig().model_dump(), config.model_dump())
    return tomli_w.dumps(found, multiline_strings=False)


def _beyond(default: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """What is in `value` and not in `default`, as TOML can say it."""
    found: dict[str, Any] = {}
    for name, own in value.items():
        if isinstance(own, Mapping):
            if inner := _beyond(default.get(name) or {}, own):
                found[name] = inner
        elif own != default.get(name):
            found[name] = "none" if own is None else list(own) if isinstance(own, tuple) else own
    return found


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SettingsError(f"{file} is UTF-16 text: save it as UTF-8")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file}, line {line}: this is not UTF-8 text; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        hint = "; in 'single quotes' a backslash stands for itself" if "\\" in str(error) else ""
        raise SettingsError(f"{file} is no valid TOML: {error}{hint}") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        both_tables = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both_tables else value
    return merged
