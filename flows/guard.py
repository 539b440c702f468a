"""Run a command that ends, with all its descendants, when whoever started it ends.

`python -m flows.guard COMMAND...` expects a pipe from its starter as standard input. The end of that pipe means that
the starter is gone, even when it was killed and could clean nothing up.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import psutil

_GRACE_SECONDS = 25.0
"""For a flow run to keep the answers that are under way to it."""
_END_SECONDS = 10.0
"""For a server or a worker after that."""
_PR_SET_CHILD_SUBREAPER = 36


def main(command: Sequence[str]) -> int:
    """Run `command` until it ends, the starter ends or SIGTERM arrives; returns its exit status."""
    _adopt_orphans()
    stop_reader, stop_writer = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.close(stop_writer))
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while child.poll() is None:
        with contextlib.suppress(InterruptedError):
            if select.select([sys.stdin, stop_reader], [], [], 0.2)[0]:
                break
    _end(child)
    return child.returncode


def _adopt_orphans() -> None:
    """Become the parent of orphaned descendants, so that they can be found and ended. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(child: "subprocess.Popen[bytes]") -> None:
    runs = [process for process in psutil.Process().children(recursive=True) if process.pid != child.pid]
    _terminate(runs, _GRACE_SECONDS)  # before the worker, which would not let them finish
    _terminate(psutil.Process().children(recursive=True), _END_SECONDS)
    for process in {*runs, *psutil.Process().children(recursive=True)}:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.wait()


def _terminate(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Ask processes to end, and wait for them so long."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(map(_has_ended, processes)):
        time.sleep(0.05)


def _has_ended(process: psutil.Process) -> bool:
    """Whether nothing runs any more, even if its parent has not looked yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
