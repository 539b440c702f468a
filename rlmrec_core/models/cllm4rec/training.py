"""Training of CLLM4Rec in phases: the trunk, texts alone, interactions and texts in turn, recommendation."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from rlmrec_core.device import opened, telling_when_full
from rlmrec_core.models import checkpoint as checkpoints
from rlmrec_core.models.cllm4rec.documents import Documents, Texts
from rlmrec_core.models.cllm4rec.embedded import embedded_trunk
from rlmrec_core.models.cllm4rec.model import CLLM4Rec, StepLosses
from rlmrec_core.models.cllm4rec.packing import Document
from rlmrec_core.models.cllm4rec.schedule import Batches, Epoch, Phase, schedule
from rlmrec_core.models.cllm4rec.settings import CLLM4RecRun
from rlmrec_core.models.cllm4rec.trunk import Trunk, UnusableTrunk, digest_of, load_trunk
from rlmrec_core.models.family import EpochRecord, FitResult, TrainingDiverged
from rlmrec_core.models.progress import Progress, Validation
from rlmrec_core.split import Split
from rlmrec_core.threads import cpu_threads
from rlmrec_core.vectors import SemanticEmbeddings

_MOST_POSITIONS = 1024


def fit(
    split: Split,
    settings: CLLM4RecRun,
    texts: Texts,
    semantic: SemanticEmbeddings | None = None,
    *,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> FitResult:
    """Train one model. The same arguments give the same bytes, whether or not the run was resumed on its way.

    checkpoint: file that is written after every epoch and resumed from if it belongs to this very run.
    Raises UnusableTrunk, TrainingDiverged on a loss that is not finite, DeviceMissing and DeviceFull where the device
    is not there or too small, and ValueError on what does not fit.
    """
    smaller = "train.backbone_settings.cllm4rec.batch_tokens"
    with cpu_threads(settings.threads), telling_when_full(settings.device, smaller):
        trainer = Trainer(split, settings, texts, semantic, checkpoint)
        for record in trainer.epochs():
            if on_epoch:
                on_epoch(record)
        return trainer.result()


def load(path: Path, split: Split, texts: Texts) -> CLLM4Rec:
    """A model as `fit` left it: its weights' file, and the split and texts it was trained on.

    Raises UnusableTrunk if the trunk is another one than then.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    settings = CLLM4RecRun.model_validate_json(metadata["settings"])
    trainer = Trainer(split, settings.model_copy(update={"initial": "normal"}), texts)
    trainer.model.settings = settings
    trainer.load_weights(weights)
    if (found := digest_of(trainer.trunk)) != metadata["trunk_digest"]:
        raise UnusableTrunk(
            f"{path} was trained on trunk {metadata['trunk']} {metadata['trunk_digest'][:12]}, this one is {found[:12]}"
        )
    return trainer.model


class Trainer:
    """The state of one run and the steps that move it on."""

    def __init__(
        self,
        split: Split,
        settings: CLLM4RecRun,
        texts: Texts,
        semantic: SemanticEmbeddings | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self.split, self.settings, self.checkpoint = split, settings, checkpoint
        self.device = opened(settings.device)
        self.trunk = load_trunk(settings.model) if settings.model else embedded_trunk(settings, texts)
        self.trunk.requires_grad_(False).to(self.device)
        most = min(self.trunk.max_positions or _MOST_POSITIONS, _MOST_POSITIONS)
        documents = Documents(
            split, texts, self.trunk.tokenizer, max_positions=most, max_text_tokens=settings.max_text_tokens
        )
        self.documents = documents
        self.model = CLLM4Rec(settings, self.trunk, documents, semantic).to(self.device)
        has_validation = bool(len(split.validation.user))
        self.schedule = schedule(settings, has_texts=bool(documents.content), has_validation=has_validation)
        self.validation = Validation(split, self.device)
        self.progress, self.best, self.optimizers = Progress(), dict[str, Tensor](), dict[str, torch.optim.Adam]()
        self.phase: Phase | None = None
        self.seconds: dict[str, list[float]] = {}
        self.run_id = _run_id(split, settings, texts, semantic, self.trunk) if checkpoint else ""
        saved = checkpoints.load(checkpoint, self.run_id) if checkpoint else None
        if saved:
            self._restore(saved)
        self.started, self.earlier_seconds = time.monotonic(), self.progress.seconds

    def epochs(self) -> Iterator[EpochRecord]:
        """Train until early stopping or the last epoch, one record per epoch."""
        while self.progress.next_epoch < len(self.schedule) and self.progress.strikes < self.settings.patience:
            epoch = self.schedule[self.progress.next_epoch]
            if epoch.phase != self.phase:
                self._begin(epoch.phase)
            began = time.monotonic()
            losses = self.train_epoch(epoch)
            self.progress.losses.append(losses)
            self.progress.next_epoch += 1
            validation = self.validate(epoch) if self._is_validated(epoch) else None
            self.progress.seconds = self.earlier_seconds + time.monotonic() - self.started
            if self.checkpoint:
                checkpoints.save(self.checkpoint, self._state(), self.run_id)
            self.seconds.setdefault(f"{epoch.phase} {epoch.texts}", []).append(time.monotonic() - began)
            yield EpochRecord(
                epoch.number,
                len(self.schedule),
                losses,
                validation or None,
                self.progress.best_epoch,
                self.progress.best_value,
                phase=epoch.phase,
                seconds_left=self._seconds_left(),
                validations=self.progress.validations,
                seconds=self.progress.seconds,
            )

    def _is_validated(self, epoch: Epoch) -> bool:
        if epoch.phase != "finetune":
            return False
        first = next(epoch.number for epoch in self.schedule if epoch.phase == "finetune")
        return (epoch.number - first) % self.settings.validate_every == 0 or epoch.number == len(self.schedule) - 1

    def _seconds_left(self) -> float:
        """At most: the epochs to come at the mean of those of their kind, or of all where there was none yet."""
        every = [one for kind in self.seconds.values() for one in kind]
        general = sum(every) / len(every)
        means = {kind: sum(found) / len(found) for kind, found in self.seconds.items()}
        coming = self.schedule[self.progress.next_epoch :]
        return sum(means.get(f"{epoch.phase} {epoch.texts}", general) for epoch in coming)

    def result(self) -> FitResult:
        """The model at its best epoch."""
        self.load_weights(self.best)
        users, items = (side.cpu().numpy() for side in self.model.vectors())
        weights = {name: tensor.cpu() for name, tensor in self.best.items()}
        metadata = self.model.metadata()
        history = self.progress.history()
        return FitResult(
            users, items, weights, history, self.progress.best_epoch, self.earlier_seconds, metadata=metadata
        )

    def train_epoch(self, epoch: Epoch) -> dict[str, float]:
        """One epoch; its mean losses by name. Raises TrainingDiverged if one is not finite."""
        losses: dict[str, float] = {}
        # Dropout draws from torch's own generator: set by the epoch, so that a resumed run draws the same.
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            rng = np.random.default_rng([self.settings.seed, epoch.number])
            torch.manual_seed(int(rng.integers(1 << 31)))
            batches = Batches(self.documents, self.settings, rng)
            if epoch.phase in ("trunk", "alternate"):
                losses |= self._pass("collaborative", batches.interactions(), "interactions")
            if epoch.phase in ("trunk", "finetune"):
                losses |= self._pass("collaborative", batches.recommendations(), "recommendation")
            if epoch.texts:
                losses |= self._pass("content", batches.contents(), "texts")
        _check_finite(losses, epoch, self.settings)
        return losses

    def _pass(self, side: str, batches: Iterator[list[Document]], name: str) -> dict[str, float]:
        """One pass over documents, a step for each batch: mean losses per target."""
        optimizer = self._optimizer(side)
        regularised = self.settings.ablation not in ("no_mutual", "no_content", "finetune_only")
        steps: list[StepLosses] = []
        for batch in batches:
            optimizer.zero_grad()
            steps.append(self.model.backward(side, batch, regularised=regularised))
            optimizer.step()
        n_targets = sum(step.n_targets for step in steps)
        sums = {
            name: sum(step.nll for step in steps),
            f"{name}_mutual": sum(step.mutual for step in steps),
            f"{name}_prior": sum(step.prior for step in steps),
        }
        return {loss: total / n_targets for loss, total in sums.items()}

    def _begin(self, phase: Phase) -> None:
        """Every phase has optimisers of its own, and a trunk that learns or does not."""
        self.phase = phase
        self.optimizers.clear()
        self.trunk.requires_grad_(phase == "trunk" or self.settings.ablation == "train_everything")

    def _optimizer(self, side: str) -> torch.optim.Adam:
        """Adam for the table of one side, and for the trunk where that learns."""
        if side not in self.optimizers:
            own = self.phase == "finetune"
            rate = self.settings.finetune_learning_rate if own else self.settings.learning_rate
            parameters = [getattr(self.model, side), *(one for one in self.trunk.parameters() if one.requires_grad)]
            self.optimizers[side] = torch.optim.Adam(parameters, rate, fused=True)
        return self.optimizers[side]

    def validate(self, epoch: Epoch) -> dict[str, float]:
        """Recall@20 and NDCG@20 on the validation part; keeps the weights if they are the best so far.

        Without a validation part there are no metrics, and the latest weights are kept.
        """
        metrics = self.validation.metrics(*self.model.vectors())
        if self.progress.validated(epoch.number, metrics):
            self.best = {name: tensor.clone() for name, tensor in self._weights().items()}
        return metrics

    def _weights(self) -> dict[str, Tensor]:
        """The tables, and the trunk where it was made here."""
        tables = {"collaborative": self.model.collaborative.detach(), "content": self.model.content.detach()}
        if self.settings.model and self.settings.ablation != "train_everything":
            return tables
        return tables | {f"trunk.{name}": tensor.detach() for name, tensor in self.trunk.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights, by their names in `FitResult.weights`, in place."""
        with torch.no_grad():
            self.model.collaborative.copy_(weights["collaborative"])
            self.model.content.copy_(weights["content"])
        own = {name.removeprefix("trunk."): one for name, one in weights.items() if name.startswith("trunk.")}
        if own:
            self.trunk.load_state_dict(own)

    def _state(self) -> checkpoints.State:
        moments = {side: checkpoints.moments(optimizer) for side, optimizer in self.optimizers.items()}
        flat = {f"{side}/{name}": tensor for side, named in moments.items() for name, tensor in named.items()}
        tensors = {"model": self._weights(), "best": self.best, "optimizer": flat}
        return checkpoints.State(tensors, self.progress.to_json())

    def _restore(self, saved: checkpoints.State) -> None:
        self.load_weights(saved.tensors["model"])
        self.best = {name: one.to(self.device) for name, one in saved.tensors.get("best", {}).items()}
        self.progress = Progress(**saved.progress)
        self._begin(self.schedule[self.progress.next_epoch - 1].phase)
        flat = saved.tensors.get("optimizer", {})
        for side in dict.fromkeys(name.partition("/")[0] for name in flat):
            own = {name.removeprefix(f"{side}/"): one for name, one in flat.items() if name.startswith(f"{side}/")}
            checkpoints.restore_moments(self._optimizer(side), own)


def _run_id(
    split: Split, settings: CLLM4RecRun, texts: Texts, semantic: SemanticEmbeddings | None, trunk: Trunk
) -> str:
    """Digest of everything that decides the result."""
    return checkpoints.digest(
        [settings.model_dump_json(), digest_of(trunk), *texts.parts()],
        (*split.train, *split.validation, *((semantic.users, semantic.items) if semantic else ())),
    )


def _check_finite(losses: Mapping[str, float], epoch: Epoch, settings: CLLM4RecRun) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            rate = settings.finetune_learning_rate if epoch.phase == "finetune" else settings.learning_rate
            raise TrainingDiverged(
                f"cllm4rec seed {settings.seed}: loss {name!r} is {value} at epoch {epoch.number} ({epoch.phase}); "
                f"lower the learning rate ({rate})" + (" or switch bf16 off" if settings.bf16 else "")
            )
