"""Errors of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = "free some space (`rlmrec artifacts gc` helps) and run again"
_WAY_OUT = {
    errno.ENOSPC: f"the disk is full; {_FULL}",
    errno.EDQUOT: f"the disk quota is used up; {_FULL}",
    errno.EFBIG: f"the file would be larger than is allowed here (see `ulimit -f`); {_FULL}",
    errno.EROFS: "the file system is read-only; keep the store in another place",
    errno.EACCES: "permission denied; keep the store in another place, or change who may write there",
}
_ACCESS = "check the address, and the credentials in the environment (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
# Clients of object stores, which raise errors of their own.
_CLIENTS = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google")


class StoreError(RuntimeError):
    """The store cannot do what was asked: says where, why and the way out. What was there before is unharmed."""


class Unreachable(StoreError):
    """The disk or bucket refuses or does not answer, so that nothing can be said of what it holds."""


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn an error of the file system or bucket met while doing `action` into an error that names the way out."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        way_out = _WAY_OUT.get(error.errno or 0)
        if way_out is None and isinstance(error, PermissionError):
            way_out = f"access denied; {_ACCESS}"
        if way_out is None:
            raise
        raise Unreachable(f"cannot {action}: {way_out}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise Unreachable(f"cannot {action}: {error}; {_ACCESS}") from error
