"""Any sentence-transformers model, by name."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlmrec_core.config.text import MissingSetting
from rlmrec_core.device import opened
from rlmrec_core.embedding.encoder import Encoded, Progress
from rlmrec_core.vectors import unit_rows

_CHUNK = 1024  # texts between two progress reports


class NamedEncoder:
    """A model from the Hugging Face hub or from a local folder."""

    def __init__(self, name: str, device: str = "cpu") -> None:
        """Raises MissingSetting if the library or the model cannot be had, and DeviceMissing."""
        self.name = name
        self._model = _load(name, str(opened(device)))
        digest = hashlib.sha256()
        for part, tensor in sorted(self._model.state_dict().items()):
            digest.update(part.encode() + tensor.cpu().float().numpy().tobytes())
        self.digest = digest.hexdigest()

    def report(self) -> dict[str, Any]:
        """Nothing was asked or paid."""
        return {}

    def encode(self, texts: Sequence[str], progress: Progress) -> Encoded:
        """Vectors of texts in their order; a text over the model's own limit is cut and counted."""
        found, lengths = [], np.zeros(0, np.int64)
        for start in range(0, len(texts), _CHUNK):
            chunk = list(texts[start : start + _CHUNK])
            found.append(self._model.encode(chunk, show_progress_bar=False))
            lengths = np.r_[lengths, [len(ids) for ids in self._model.tokenizer(chunk, verbose=False)["input_ids"]]]
            progress(start + len(chunk), len(texts))
        limit = self._model.get_max_seq_length() or lengths.max()
        return Encoded(
            unit_rows(np.concatenate(found)), int(lengths.clip(max=limit).sum()), int((lengths > limit).sum())
        )


def _load(name: str, device: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingSetting("encoder sentence-transformers needs: pip install sentence-transformers") from error
    try:
        return SentenceTransformer(name, device=device)
    except (OSError, ValueError) as error:
        raise MissingSetting(
            f"no sentence-transformers model {name!r} here, and none could be fetched: check the name and the network, "
            f"or set embed.model to a local folder ({str(error)[:200]})"
        ) from error
