"""A sentence made of evidence alone, without a language model."""

from collections.abc import Sequence

from rlmrec_core.explain.evidence import Evidence

_LONGEST = 80


def sentence(found: Evidence, names: Sequence[str]) -> str:
    """Why an item stands in a list, in one sentence that names nothing outside its evidence.

    names: what people call each item, its title or else its id. Without any evidence: what that means.
    """
    behaviour, text = (near and short(names[near.item]) for near in (found.behaviour, found.text))
    if behaviour and behaviour == text:
        reasons = [f"close to {behaviour}, by who chose it and by what is said of it"]
    else:
        reasons = [f"chosen by people who chose {behaviour}"] if behaviour else []
        reasons += [f"described much like {text}"] if text else []
    if found.words:
        reasons.append(f"both profiles speak of {_joined(found.words)}")
    if not reasons:
        return "Popular among people with a similar history."
    said = "; ".join(reasons)
    return f"{said[0].upper()}{said[1:]}."


def short(name: str) -> str:
    """A name in at most 80 characters."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
