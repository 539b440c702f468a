"""Words, users and items as one vocabulary, in which a text can never name a user, an item or a special token."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rlmrec_core.models.cllm4rec.packing import Tokens


class TextTokenizer:
    """A Hugging Face tokenizer that reads every text as plain data.

    What the tokenizer added to its vocabulary (end of text, padding, chat marks) is recognised in any text by its
    spelling. Such spellings are cut after their first character before they are read, so that none of those tokens
    comes out of a text.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        """tokenizer: a fast tokenizer of transformers; size: rows of the trunk's word table."""
        self.size = size
        self._tokenizer = tokenizer
        added = sorted((str(one) for one in tokenizer.added_tokens_decoder.values()), key=len, reverse=True)
        self.added = frozenset(tokenizer.added_tokens_decoder)
        # What the cut leaves: a mark of one letter, or one that only a tokenizer's own normalisation brings forth.
        self._never = frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        self._spelled = re.compile("|".join(map(re.escape, added)), re.IGNORECASE) if added else None

    def encode(self, texts: Iterable[str]) -> list[Tokens]:
        """The word ids of each text, each once."""
        pieces: list[str] = []
        sizes: list[int] = []
        for text in texts:
            cut = self._pieces(text)
            pieces += cut
            sizes.append(len(cut))
        read = self._tokenizer(pieces, add_special_tokens=False)["input_ids"] if pieces else []
        encoded, start = [], 0
        for size in sizes:
            words = (word for part in read[start : start + size] for word in part)
            encoded.append(np.array([word for word in words if word not in self._never], np.int64))
            start += size
        return encoded

    def decode(self, words: Tokens) -> str:
        """The text of word ids, as far as the tokenizer can give it back."""
        text: str = self._tokenizer.decode(words.tolist(), clean_up_tokenization_spaces=False)
        return text

    def _pieces(self, text: str) -> Sequence[str]:
        """The text, cut inside every spelling of an added token."""
        if self._spelled is None:
            return [text]
        cuts = [0, *(found.start() + 1 for found in self._spelled.finditer(text)), len(text)]
        return [text[start:stop] for start, stop in pairwise(cuts) if stop > start] or [""]


class Vocabulary:
    """Where users and items stand after the words: user i is `n_words` + i, item j `n_words` + `n_users` + j."""

    def __init__(self, n_words: int, n_users: int, n_items: int) -> None:
        self.n_words, self.n_users, self.n_items = n_words, n_users, n_items

    def user(self, user: int) -> int:
        return self.n_words + user

    def item(self, item: Any) -> Any:
        """The token of an item, or of an array of items."""
        return item + self.n_words + self.n_users
