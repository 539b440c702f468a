"""The schedule of a training: its epochs in phases, and the documents that each reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlmrec_core.models.cllm4rec.documents import Documents
from rlmrec_core.models.cllm4rec.packing import Document, Tokens
from rlmrec_core.models.cllm4rec.settings import CLLM4RecRun

Phase = Literal["trunk", "content", "alternate", "finetune"]


@dataclass(frozen=True)
class Epoch:
    """One epoch of the schedule. texts: whether the texts are read in it, too."""

    number: int
    phase: Phase
    texts: bool


def schedule(settings: CLLM4RecRun, *, has_texts: bool, has_validation: bool = True) -> list[Epoch]:
    """Every epoch there is at most, in order.

    Without a validation part nothing tells when to stop: there are `fixed_epochs` of all phases together, and one of
    fine-tuning at least.
    """
    learns_trunk = settings.model is None and settings.trunk != "random"
    ablation = settings.ablation
    texts = has_texts and ablation not in ("no_content", "finetune_only")
    pretrains = ablation != "finetune_only"
    phases: list[tuple[Phase, int]] = [
        ("trunk", settings.trunk_epochs if learns_trunk else 0),
        ("content", settings.warmup_epochs if texts else 0),
        ("alternate", settings.pretrain_epochs if pretrains else 0),
    ]
    before = sum(n_epochs for _, n_epochs in phases)
    left = settings.finetune_epochs if has_validation else max(settings.fixed_epochs - before, 1)
    phases.append(("finetune", min(left, settings.finetune_epochs)))
    found: list[Epoch] = []
    for phase, n_epochs in phases:
        for turn in range(n_epochs):
            due = turn % settings.content_every == settings.content_every - 1
            reads = texts and (phase == "content" or due)
            found.append(Epoch(len(found), phase, reads))
    return found


@dataclass(frozen=True)
class Batches:
    """The documents of one epoch in batches, drawn from `rng` as they are asked for."""

    documents: Documents
    settings: CLLM4RecRun
    rng: np.random.Generator

    def interactions(self) -> Iterator[list[Document]]:
        """Each user's train items in random order, or by id."""
        first = self.settings.protocol == "paper"
        for users in self._users():
            read = [self.documents.interactions(user, self._ordered(user), first=first) for user in users]
            if batch := [one for one in read if len(one.targets)]:
                yield batch

    def recommendations(self) -> Iterator[list[Document]]:
        """Each user's history with a share held out, which is to be predicted."""
        for users in self._users():
            yield [self._masked(user) for user in users]

    def _masked(self, user: int) -> Document:
        history = self.documents.history(user)
        n_held_out = max(1, int(self.settings.holdout_ratio * len(history)))
        order = self.rng.permutation(len(history))
        held_out, kept = history[np.sort(order[:n_held_out])], history[order[n_held_out:]]
        if self._fixed_order:
            kept = np.sort(kept)
        targets = held_out if self.settings.protocol == "paper" else history
        return self.documents.recommendation(user, kept, targets)

    def contents(self) -> Iterator[list[Document]]:
        """Profiles and reviews, in random order."""
        content = self.documents.content
        order = self.rng.permutation(len(content))
        for start in range(0, len(order), self.settings.batch_size):
            yield [content[place] for place in order[start : start + self.settings.batch_size]]

    def _users(self) -> Iterator[list[int]]:
        """Users with train items, in random batches."""
        order = self.rng.permutation(self.documents.users_in_train)
        for start in range(0, len(order), self.settings.batch_size):
            yield order[start : start + self.settings.batch_size].tolist()

    def _ordered(self, user: int) -> Tokens:
        history = self.documents.history(user)
        return history if self._fixed_order else self.rng.permutation(history)

    @property
    def _fixed_order(self) -> bool:
        return self.settings.ablation == "fixed_order" or self.settings.protocol == "code"
