"""A run's state on disk: one safetensors file, with everything that is not a tensor as JSON in its header."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from rlmrec_core.config.training import RunSettings
from rlmrec_core.split import Split
from rlmrec_core.vectors import SemanticEmbeddings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """Tensors by group ("model", "best", "optimizer", "random") and name, and the JSON-able rest."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    progress: Mapping[str, Any]


def save(path: Path, state: State, run_id: str) -> None:
    """Write the state to `path` in one move: a killed process leaves the old checkpoint or the new one whole."""
    flat = {f"{group}/{name}": tensor for group, named in state.tensors.items() for name, tensor in named.items()}
    header = {"run_id": run_id, "progress": json.dumps(state.progress)}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in flat.items()}, unfinished, metadata=header)
    unfinished.replace(path)


def load(path: Path, run_id: str) -> State | None:
    """The state saved for this very run. None, with a warning, if the file is unreadable or of another run."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("run_id") != run_id:
                logger.warning("checkpoint %s is of another run: starting from the first epoch", path)
                return None
            tensors: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118 - not a mapping
                group, name = key.split("/", 1)
                tensors.setdefault(group, {})[name] = file.get_tensor(key)
            return State(tensors, json.loads(header["progress"]))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        logger.warning("checkpoint %s is unreadable (%s): starting from the first epoch", path, error)
        return None


def moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of each parameter, by `<parameter's place>/<name>`."""
    remembered = optimizer.state_dict()["state"].items()
    return {f"{place}/{name}": value for place, named in remembered for name, value in named.items()}


def restore_moments(optimizer: Optimizer, saved: Mapping[str, Tensor]) -> None:
    """Have an optimizer of the same parameters remember what `moments` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in saved.items():
        place, name = key.split("/")
        state.setdefault(int(place), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def run_id(split: Split, settings: RunSettings, semantic: SemanticEmbeddings | None) -> str:
    """Digest of everything that decides a run's result: settings, train and validation pairs, semantic vectors."""
    vectors = () if semantic is None else (semantic.users, semantic.items)
    return digest([settings.model_dump_json()], (*split.train, *split.validation, *vectors))


def digest(texts: Iterable[str], arrays: Iterable[npt.NDArray[Any]]) -> str:
    """sha256 over texts and arrays, the arrays with their shapes."""
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode())
        found.update(b"\0")
    for array in arrays:
        found.update(str(array.shape).encode())
        found.update(array.tobytes())
    return found.hexdigest()
