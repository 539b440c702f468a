"""Single steps of training, kernel by kernel or as one CUDA graph, within the memory that there is."""

import logging

import torch
from torch import Tensor

from rlmrec_core.device import within_memory
from rlmrec_core.models.graph.backbones import Batch
from rlmrec_core.models.graph.recommender import Recommender

logger = logging.getLogger(__name__)

_WARM_UP = 3
"""Full steps before a graph is captured: by then libraries have their workspaces and Adam its moments."""

Losses = dict[str, Tensor]


class Steps:
    """What moves a model on by one batch.

    With `graphs`, on a GPU and where the backbone's steps are all alike, the kernels of a full batch are captured once
    and then started together. Whatever cannot be captured is told, and goes on kernel by kernel.
    """

    def __init__(
        self,
        model: Recommender,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        *,
        batch_size: int,
        graphs: bool,
    ) -> None:
        self.model, self.optimizer, self.generator, self.batch_size = model, optimizer, generator, batch_size
        self.device = generator.device
        self.captures = graphs and self.device.type == "cuda" and model.backbone.steps_alike
        self._captured: _Captured | None = None
        self._done = 0

    def __call__(self, batch: Batch) -> Losses:
        """Move on by a batch; its losses, which the next step may overwrite."""
        if not self.captures or len(batch.users) < self.batch_size:
            return self._step(batch)
        if self._done < _WARM_UP:
            self._done += 1
            return self._step_aside(batch)
        if self._captured is None and not self._capture(batch):
            return self._step(batch)
        assert self._captured is not None
        return self._captured.replay(batch)

    def _step(self, batch: Batch) -> Losses:
        losses = self._gradients(batch)
        self.optimizer.step()
        return losses

    def _gradients(self, batch: Batch) -> Losses:
        drawn = self.generator.get_state()
        # An attempt that ran out of memory has drawn numbers, and may have left gradients.
        return within_memory(self.device, lambda: self._backward(batch), lambda: self.generator.set_state(drawn))

    def _backward(self, batch: Batch) -> Losses:
        self.optimizer.zero_grad()
        losses = self.model.losses(batch, self.generator)
        torch.stack(list(losses.values())).sum().backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _step_aside(self, batch: Batch) -> Losses:
        """A step on another stream than the usual one, which what is captured later needs to have seen."""
        here, aside = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            losses = self._step(batch)
        here.wait_stream(aside)
        for loss in losses.values():
            loss.record_stream(here)
        return losses

    def _capture(self, batch: Batch) -> bool:
        drawn = self.generator.get_state()
        try:
            self._captured = _Captured(self, batch)
        except RuntimeError as error:
            logger.warning("no CUDA graph of this step (%s): going on without", str(error).partition("\n")[0])
            self.captures = False
            self.generator = torch.Generator(self.device)  # the old one may still believe in the capture
            self.generator.set_state(drawn)
        return self._captured is not None


class _Captured:
    """A full step as a graph, with tensors of its own for the batch."""

    def __init__(self, steps: Steps, batch: Batch) -> None:
        negatives = None if batch.negatives is None else batch.negatives.clone()
        self.batch = Batch(batch.users.clone(), batch.positives.clone(), negatives)
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(steps.generator)
        steps.optimizer.zero_grad()
        # A stream of its own: the usual one belongs to the card that was the current one when it was made.
        stream = torch.cuda.Stream(steps.device)
        with torch.cuda.device(steps.device), torch.cuda.graph(self.graph, stream=stream):
            self.losses = steps._backward(self.batch)
            steps.optimizer.step()

    def replay(self, batch: Batch) -> Losses:
        for own, given in zip(self.batch, batch, strict=True):
            if own is not None and given is not None:
                own.copy_(given)
        self.graph.replay()
        return self.losses
