"""Typed settings, one section per stage. Presets and files: `rlmrec_core.config.pipeline`."""

from rlmrec_core.config.data import ColumnMapping, IngestConfig, PrepareConfig
from rlmrec_core.config.engine import EngineConfig
from rlmrec_core.config.faults import SettingsError
from rlmrec_core.config.gates import Check, GatesConfig
from rlmrec_core.config.pipeline import PipelineConfig, config_toml, dataset_preset, load_config
from rlmrec_core.config.ranking import EvaluateConfig, RecommendConfig
from rlmrec_core.config.reasons import ReasonsConfig
from rlmrec_core.config.rerank import RerankConfig
from rlmrec_core.config.search import SearchConfig, SearchRange
from rlmrec_core.config.text import EmbedConfig, LlmConfig, ProfileConfig
from rlmrec_core.config.training import TrainConfig

__all__ = [
    "Check",
    "ColumnMapping",
    "EmbedConfig",
    "EngineConfig",
    "EvaluateConfig",
    "GatesConfig",
    "IngestConfig",
    "LlmConfig",
    "PipelineConfig",
    "PrepareConfig",
    "ProfileConfig",
    "ReasonsConfig",
    "RecommendConfig",
    "RerankConfig",
    "SearchConfig",
    "SearchRange",
    "SettingsError",
    "TrainConfig",
    "config_toml",
    "dataset_preset",
    "load_config",
]
