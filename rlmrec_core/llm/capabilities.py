"""What a server understands, learnt from its refusals and remembered for a while."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from rlmrec_core.config.text import ServerKind
from rlmrec_core.llm.answers import Refusal

Cap = Literal["max_completion_tokens", "max_tokens"]
_LASTS = 7 * 86_400.0  # seconds after which what was learnt is tried again
_THOUGHTS = (4_096, 16_384)  # tokens of room for thoughts, one after the other
_UNKNOWN = re.compile(
    r"unsupported|not supported|does not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|forbidden"
    r"|extra (field|input)|unavailable|not available|not implemented|no longer|deprecated|invalid parameter",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"too (large|high|big|long)|exceed|at most|maximum|context|less than|greater", re.IGNORECASE)
# Other words for what we sent, by its name.
_WORDS = {
    "response_format": r"response_format|json_schema|json_object|structured.?outputs?|guided_json|json mode|grammar",
    "max_completion_tokens": r"max_completion_tokens",
    "max_tokens": r"max_tokens",
    "temperature": r"temperature",
}


@dataclass(frozen=True)
class Capabilities:
    """How a chat request is spelt for one server and model.

    Attributes:
        format: How the answer's form is enforced; "prompt" leaves it to the words of the prompt.
        cap: The parameter that bounds the answer's length.
        temperature: Whether the parameter may be sent at all.
        refused_caps: Names of that parameter that the server has refused.
        cap_ignored: Whether `cap` was changed because answers were much longer than it allows; that happens once.
        thoughts: Tokens of room that the model's thoughts need beside the answer.
        kind, learnt_at: The setting under which this was learnt, and when (seconds since 1970).
    """

    format: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    cap: Cap = "max_completion_tokens"
    temperature: bool = True
    refused_caps: tuple[str, ...] = ()
    cap_ignored: bool = False
    thoughts: int = 0
    kind: ServerKind = "auto"
    learnt_at: float = 0.0

    @classmethod
    def of(cls, kind: ServerKind, reasoning: Literal["auto", "on", "off"] = "auto") -> "Capabilities":
        """What is known before the first request."""
        cap: Cap = "max_completion_tokens" if kind in ("auto", "openai", "azure") else "max_tokens"
        return cls(cap=cap, thoughts=_THOUGHTS[0] if reasoning == "on" else 0, kind=kind)

    @classmethod
    def remembered(cls, text: str | None, otherwise: "Capabilities") -> "Capabilities":
        """What an earlier run learnt; `otherwise` if that is too old, of other settings or no use."""
        try:
            known = json.loads(text or "")
            found = cls(**{field.name: known[field.name] for field in fields(cls)})
            fresh = found.kind == otherwise.kind and 0 <= time.time() - found.learnt_at < _LASTS
        except (ValueError, TypeError, LookupError):
            return otherwise
        return replace(found, refused_caps=tuple(found.refused_caps)) if fresh else otherwise

    def to_json(self) -> str:
        """As `remembered` reads it."""
        return json.dumps(asdict(replace(self, learnt_at=time.time())))

    def spell(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request in OpenAI's words as this server wants it."""
        spelt = dict(body)
        if "max_completion_tokens" in spelt:
            spelt[self.cap] = spelt.pop("max_completion_tokens") + self.thoughts
        if "response_format" in spelt and self.format != "json_schema":
            del spelt["response_format"]
            if self.format == "json_object":
                spelt["response_format"] = {"type": "json_object"}
        if not self.temperature:
            spelt.pop("temperature", None)
        return spelt

    def after_refusal(self, refusal: Refusal, body: Mapping[str, Any]) -> "Capabilities | None":
        """One step down from what a refusal complains of; None if it names nothing that could be left out.

        Args:
            refusal: What the server said.
            body: The request in OpenAI's words. What a server quotes of its texts is no complaint.
        """
        sent = self.spell(body)
        quoted = " ".join(_texts(sent.get("messages")))
        named = next((name for name in _WORDS if name in sent and _complains(refusal, name, quoted)), None)
        if named == "response_format" and self.format != "prompt":
            return replace(self, format="json_object" if self.format == "json_schema" else "prompt")
        if named == "temperature":
            return replace(self, temperature=False)
        if named == self.cap:
            refused = (*self.refused_caps, self.cap)
            other = _other(self.cap)
            return None if other in refused else replace(self, cap=other, refused_caps=refused)
        return None

    def after_long_answer(self) -> "Capabilities | None":
        """The other name of the cap, tried once where a server seems to ignore this one."""
        other = _other(self.cap)
        if self.cap_ignored or other in self.refused_caps:
            return None
        return replace(self, cap=other, cap_ignored=True)

    def with_room_for_thoughts(self) -> "Capabilities | None":
        """More room for a model that thinks before it answers; None if there is no more to give."""
        more = [room for room in _THOUGHTS if room > self.thoughts]
        return replace(self, thoughts=more[0]) if more else None


def _other(cap: Cap) -> Cap:
    return "max_tokens" if cap == "max_completion_tokens" else "max_completion_tokens"


def _complains(refusal: Refusal, name: str, quoted: str) -> bool:
    """Whether a refusal says that it does not know a parameter of this name."""
    word = re.compile(_WORDS[name], re.IGNORECASE)
    listed = any(re.split(r"[.\[]", param)[0] == name for param in refusal.params)
    told = any(not _in(match, quoted) for match in word.findall(refusal.message))
    if not (listed or told):
        return False
    is_cap = name.startswith("max_")
    codes = " ".join(refusal.codes).replace("_", " ")
    plain = re.search("unsupported|extra|unrecognized", f"{refusal.message} {codes}", re.IGNORECASE)
    if is_cap and _TOO_LARGE.search(refusal.message) and not plain:
        return False
    unknown = _UNKNOWN.search(refusal.message) or _UNKNOWN.search(codes) or re.search("unrecognized|unknown", codes)
    return bool(unknown) or (listed and not is_cap)


def _in(word: str, quoted: str) -> bool:
    return word.lower() in quoted.lower()


def _texts(messages: Any) -> list[str]:
    return [str(message.get("content")) for message in messages or [] if isinstance(message, dict)]
