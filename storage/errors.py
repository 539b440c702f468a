"""Errors of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_WAY_OUT = {
    errno.ENOSPC: "the disk is full; free some space (`rlmrec artifacts gc` helps) and run again",
    errno.EDQUOT: "the disk quota is used up; free some space (`rlmrec artifacts gc` helps) and run again",
    errno.EROFS: "the file system is read-only; choose another place with --store",
    errno.EACCES: "permission denied; choose another place with --store, or change the folder's owner",
}


class StoreError(RuntimeError):
    """The store cannot do what was asked: says where, why and the way out. What was there before is unharmed."""


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn an OSError met while doing `action` into a StoreError that names the way out."""
    try:
        yield
    except OSError as error:
        way_out = _WAY_OUT.get(error.errno or 0)
        if way_out is None:
            raise
        raise StoreError(f"cannot {action}: {way_out}") from error
