"""CLLM4Rec: two tables of user and item vectors around one frozen language model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rlmrec_core.models.cllm4rec.documents import Documents
from rlmrec_core.models.cllm4rec.losses import multinomial_nll, squared_distance
from rlmrec_core.models.cllm4rec.packing import Document, Pack, packs
from rlmrec_core.models.cllm4rec.settings import CLLM4RecRun
from rlmrec_core.models.cllm4rec.trunk import Trunk, digest_of
from rlmrec_core.vectors import SemanticEmbeddings

_EVALUATED = 256
"""Users whose vectors are made at once."""


@dataclass(frozen=True)
class StepLosses:
    """Sums over a step's documents, in nats: nll over `n_targets` predictions, mutual and prior over occurrences."""

    nll: float
    mutual: float
    prior: float
    n_targets: int


class CLLM4Rec(nn.Module):
    """Zhu et al., "Collaborative Large Language Model for Recommender Systems" (WWW 2024), section 3.

    collaborative, content: (n_users + n_items, d) each, users first: the same tokens' vectors for interactions and for
    texts. The item head is the collaborative items' rows; the vocabulary head is the trunk's.
    """

    def __init__(
        self, settings: CLLM4RecRun, trunk: Trunk, documents: Documents, semantic: SemanticEmbeddings | None = None
    ) -> None:
        super().__init__()
        self.settings, self.documents, self.trunk = settings, documents, trunk
        self.n_users, self.n_items = documents.split.n_users, documents.split.n_items
        shape = (self.n_users + self.n_items, trunk.width)
        generator = torch.Generator().manual_seed(settings.seed)
        tables = [torch.randn(shape, generator=generator) * settings.initial_std for _ in range(2)]
        # Semantic vectors are made of the texts: without content, there is nothing of them.
        if settings.initial == "semantic" and settings.ablation != "no_content":
            if semantic is None:
                raise ValueError("initial='semantic' needs semantic vectors: run embed, or set initial to 'normal'")
            start = semantic_start(semantic, trunk.width, settings.initial_std, generator)
            tables = [start.where(start.any(1, keepdim=True), table) for table in tables]
        self.collaborative, self.content = (nn.Parameter(table) for table in tables)

    def backward(self, side: str, documents: Sequence[Document], *, regularised: bool) -> StepLosses:
        """Add one step's gradients to the table of `side` and return its losses; the other side is held fixed.

        The objective is the sum of -log p over the step's targets, and of lambda_c / 2 |z - z'|^2 and
        lambda_l / 2 |z|^2 over the users and items of its documents, divided by the number of targets.
        """
        settings = self.settings
        table, other = (
            (self.collaborative, self.content) if side == "collaborative" else (self.content, self.collaborative)
        )
        n_targets = sum(len(one.targets) for one in documents)
        nll = 0.0
        for pack in packs(sorted(documents, key=len), settings.batch_tokens):
            part = self._nll(side, table, pack.to(settings.device))
            (part / n_targets).backward()
            nll += float(part.detach())
        found, occurrences = np.unique(np.concatenate([one.nodes for one in documents]), return_counts=True)
        # A document names its user once and is about it in every prediction.
        weights = np.where(found < self.n_users, settings.user_weight, 1.0) * occurrences
        nodes = torch.from_numpy(found).to(settings.device)
        counts = torch.from_numpy(weights).to(settings.device, table.dtype)
        mutual = prior = table.new_zeros(())
        # The authors' code adds the sum over tokens to a mean, without the half and without a prior.
        norm = n_targets if settings.protocol == "paper" else 0.5
        if regularised and settings.mutual_weight:
            mutual = settings.mutual_weight * squared_distance(table, other.detach(), nodes, counts)
            (mutual / norm).backward()
        if settings.prior_weight and settings.protocol == "paper":
            prior = settings.prior_weight * squared_distance(table, None, nodes, counts)
            (prior / norm).backward()
        return StepLosses(nll, float(mutual.detach()), float(prior.detach()), n_targets)

    def _nll(self, side: str, table: Tensor, pack: Pack) -> Tensor:
        hidden = self.hidden(table, pack, self.settings.dropout)
        head = table[self.n_users :] if side == "collaborative" else self.trunk.head
        return multinomial_nll(hidden, head, pack.pair_rows, pack.targets, bf16=self.settings.bf16)

    def hidden(self, table: Tensor, pack: Pack, dropout: float) -> Tensor:
        """(n, d) of the predicting rows."""
        n_words = self.documents.vocabulary.n_words
        is_node = pack.tokens >= n_words
        places = is_node.nonzero().squeeze(1)
        words = self.trunk.words[pack.tokens.where(~is_node, 0)].to(table.dtype)
        inputs = words.index_copy(0, places, table[pack.tokens[places] - n_words])
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.settings.bf16):
            states: Tensor = self.trunk(inputs, pack, dropout)
        return states.to(table.dtype)

    def metadata(self) -> dict[str, str]:
        """What the weights need beside them to be read again: settings and the trunk's name and digest."""
        return {
            "settings": self.settings.model_dump_json(),
            "trunk": self.trunk.name,
            "trunk_digest": digest_of(self.trunk),
            "n_users": str(self.n_users),
            "n_items": str(self.n_items),
        }

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        """Users (n_users, d), the last hidden state after all their train items, and items (n_items, d)."""
        none = np.zeros(0, np.int64)
        users = self.collaborative.new_empty(self.n_users, self.trunk.width)
        for start in range(0, self.n_users, _EVALUATED):
            chunk = range(start, min(start + _EVALUATED, self.n_users))
            read = [self.documents.recommendation(user, self.documents.history(user), none) for user in chunk]
            by_length = sorted(range(len(read)), key=lambda place: len(read[place]))
            done = 0
            for pack in packs([read[place] for place in by_length], self.settings.batch_tokens):
                found = self.hidden(self.collaborative, pack.to(self.settings.device), 0.0)
                there = torch.tensor([start + place for place in by_length[done : done + len(found)]])
                users[there.to(users.device)] = found
                done += len(found)
        return users, self.collaborative[self.n_users :].detach()


def semantic_start(semantic: SemanticEmbeddings, width: int, std: float, generator: torch.Generator) -> Tensor:
    """Vectors to start from, (n_users + n_items, width): the semantic ones along the items' first principal components.

    Each side is centred, so that nothing is common to all its vectors, and scaled to a standard deviation of `std`; a
    row of zeros stays one. Where there are fewer components than `width`, they are turned at random into all of it.
    """
    users, items = (_centred(torch.from_numpy(side).double()) for side in (semantic.users, semantic.items))
    axes = torch.linalg.svd(items, full_matrices=False).Vh[:width]
    if len(axes) < width:
        turn = torch.linalg.qr(torch.randn(width, len(axes), generator=generator, dtype=torch.float64)).Q
        axes = turn @ axes
    sides = (side @ axes.T for side in (users, items))
    return torch.cat([side / side[side.any(1)].std() * std for side in sides]).float()


def _centred(rows: Tensor) -> Tensor:
    """The rows less their mean; rows of zeros stay."""
    there = rows.any(1, keepdim=True)
    centred: Tensor = (rows - rows.sum(0) / there.sum()) * there
    return centred
