"""Keys: what an artifact depends on, as one digest."""

import re
from collections.abc import Mapping
from typing import Any

from rlmrec_core.canonical import digest_of
from storage.errors import StoreError

_STAGE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_KEY = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def artifact_key(stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """The key of an artifact: 64 hexadecimal digits.

    `version` is the stage's own, raised when its code changes what it writes; `config` holds only what matters to the
    bytes; `inputs` maps a role to the key of the artifact (or the sha256 of the raw file) that plays it.
    """
    return digest_of({"stage": checked_stage(stage), "version": version, "config": config, "inputs": inputs})


def checked_stage(stage: str) -> str:
    """`stage`, or StoreError if it could not name a folder inside the store."""
    return _checked(_STAGE, stage, "stage name")


def checked_key(key: str) -> str:
    """`key`, or StoreError if it is not 64 hexadecimal digits."""
    return _checked(_KEY, key, "artifact key")


def checked_file(name: str) -> str:
    """`name`, or StoreError if it is not a plain file name."""
    return _checked(_FILE, name, "file name")


def checked_path(path: str) -> str:
    """`path`, or StoreError if it is not plain names with slashes between them."""
    return "/".join(map(checked_file, path.split("/")))


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise StoreError(f"{text!r} is no {what}: it must match {pattern.pattern}")
    return text
