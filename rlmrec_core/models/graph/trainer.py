"""Training with early stopping, checkpoints and resumption (RLMRec, section 4.1.3)."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from rlmrec_core.config.training import RunSettings
from rlmrec_core.device import float32_products, opened, telling_when_full
from rlmrec_core.models import checkpoint as checkpoints
from rlmrec_core.models.family import EpochRecord, FitResult, OnEpoch, TrainingDiverged
from rlmrec_core.models.graph.recommender import build_recommender
from rlmrec_core.models.graph.sampler import PairSampler
from rlmrec_core.models.graph.steps import Steps
from rlmrec_core.models.progress import Progress, Validation
from rlmrec_core.split import Split
from rlmrec_core.threads import cpu_threads
from rlmrec_core.vectors import SemanticEmbeddings, Vectors


def fit(
    split: Split,
    settings: RunSettings,
    semantic: SemanticEmbeddings | None = None,
    *,
    start: Vectors | None = None,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train one model. The same arguments give the same bytes, whether or not the run was resumed on its way.

    start: rows of the id table to start from, NaN where a fresh one stays; checkpoint: file that is written after every
    validation and resumed from if it belongs to this very run.
    Raises TrainingDiverged on a loss that is not finite, DeviceMissing and DeviceFull where the device is not there or
    too small, and ValueError on settings or vectors that do not fit.
    """
    with cpu_threads(settings.threads), telling_when_full(settings.device):
        trainer = Trainer(split, settings, semantic if settings.reads_semantics else None, checkpoint, start)
        for record in trainer.epochs():
            if on_epoch:
                on_epoch(record)
        return trainer.result()


class Trainer:
    """The state of one run and the steps that move it on."""

    def __init__(
        self,
        split: Split,
        settings: RunSettings,
        semantic: SemanticEmbeddings | None,
        checkpoint: Path | None,
        start: Vectors | None = None,
    ) -> None:
        self.split, self.settings, self.checkpoint = split, settings, checkpoint
        self.device = opened(settings.device)
        self.model = build_recommender(split, settings, semantic)
        if start is not None:
            self.model.backbone.start_table(start)
        # Weight decay of 2 lambda is the gradient of lambda times the sum of squares.
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), settings.learning_rate, weight_decay=2 * settings.weight_decay, fused=True,
            capturable=settings.cuda_graphs and self.device.type == "cuda",
        )  # fmt: skip
        self.sampler = PairSampler(split, settings.batch_size, self.device)
        self.steps = Steps(
            self.model, self.optimizer, torch.Generator(self.device).manual_seed(settings.seed),
            batch_size=settings.batch_size, graphs=settings.cuda_graphs,
        )  # fmt: skip
        self.validation = Validation(split, self.device)
        self.progress, self.best = Progress(), self._weights()
        # Without a validation part nothing tells when to stop.
        self.n_epochs = settings.max_epochs
        if not len(split.validation.user):
            self.n_epochs = min(settings.max_epochs, settings.fixed_epochs)
        self.run_id = checkpoints.run_id(split, settings, semantic) if checkpoint else ""
        saved = checkpoints.load(checkpoint, self.run_id) if checkpoint else None
        if saved:
            self._restore(saved)
        self.started, self.earlier_seconds = time.monotonic(), self.progress.seconds

    def epochs(self) -> Iterator[EpochRecord]:
        """Train until early stopping or the last epoch, one record per epoch."""
        limit, patience = self.n_epochs, self.settings.patience
        while self.progress.next_epoch < limit and self.progress.strikes < patience:
            epoch = self.progress.next_epoch
            losses = self.train_epoch(epoch)
            self.progress.losses.append(losses)
            self.progress.next_epoch += 1
            # The last epoch is always validated: a run shorter than the interval has a best epoch, too.
            due = epoch % self.settings.validate_every == 0 or epoch == limit - 1
            validation = self.validate(epoch) if due else None
            best = self.progress.best_epoch, self.progress.best_value
            seen, spent = self.progress.validations, self.earlier_seconds + time.monotonic() - self.started
            yield EpochRecord(epoch, limit, losses, validation or None, *best, validations=seen, seconds=spent)

    def result(self) -> FitResult:
        """The model at its best epoch."""
        if self.progress.best_epoch < 0:
            raise RuntimeError("the model has not been trained for an epoch")
        self.model.load_state_dict(self.best)
        users, items = (side.cpu().numpy() for side in self.model.vectors())
        weights = {name: tensor.cpu() for name, tensor in self.best.items()}
        history, best_epoch = self.progress.history(), self.progress.best_epoch
        return FitResult(users, items, weights, history, best_epoch, self.earlier_seconds)

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the train pairs; the mean losses by name. Raises TrainingDiverged if one is not finite."""
        self.model.train()
        self.model.backbone.begin_epoch()
        totals: dict[str, Tensor] = {}
        n_pairs = len(self.sampler.user)
        negatives = self.model.backbone.samples_negatives
        with float32_products(self.device, tf32=self.settings.tf32):
            for batch in self.sampler.epoch(self.steps.generator, negatives=negatives):
                share = len(batch.users) / n_pairs
                for name, loss in self.steps(batch).items():
                    totals[name] = totals.get(name, 0) + loss * share
        means = {name: float(total) for name, total in totals.items()}
        _check_finite(means, epoch, self.settings)
        return means

    def validate(self, epoch: int) -> dict[str, float]:
        """Recall@20 and NDCG@20 on the validation part; keeps the weights if they are the best so far.

        Without a validation part there are no metrics, and the latest weights are kept.
        """
        self.model.eval()
        metrics = self.validation.metrics(*self.model.vectors())
        if self.progress.validated(epoch, metrics):
            self.best = self._weights()
        self.progress.seconds = self.earlier_seconds + time.monotonic() - self.started
        if self.checkpoint:
            checkpoints.save(self.checkpoint, self._state(), self.run_id)
        return metrics

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def _state(self) -> checkpoints.State:
        tensors = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": checkpoints.moments(self.optimizer),
            "random": {"generator": self.steps.generator.get_state()},
        }
        return checkpoints.State(tensors, self.progress.to_json())

    def _restore(self, saved: checkpoints.State) -> None:
        self.model.load_state_dict(saved.tensors["model"])
        self.best = {name: tensor.to(self.device) for name, tensor in saved.tensors["best"].items()}
        checkpoints.restore_moments(self.optimizer, saved.tensors["optimizer"])
        self.steps.generator.set_state(saved.tensors["random"]["generator"])
        self.progress = Progress(**saved.progress)


def _check_finite(losses: dict[str, float], epoch: int, settings: RunSettings) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            run = f"{settings.backbone} {settings.variant} seed {settings.seed}"
            raise TrainingDiverged(
                f"{run}: loss {name!r} is {value} at epoch {epoch}; lower the learning rate ({settings.learning_rate}) "
                "or look for extreme values in the semantic vectors"
            )
