import signal
import socket
from collections.abc import Iterator

import pytest

from tests.integration.command import Up, all_gone, family, finish, start_up


@pytest.fixture(scope="session")
def up(tmp_path_factory) -> Iterator[Up]:
    """`rlmrec up` where port 4200 is taken; at the end, Ctrl-C must end all of it."""
    with socket.socket() as other:
        # As rlmrec's own probe: a port that was in use a moment ago is free.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 4200))
            other.listen()
        except OSError:
            pass  # taken by somebody else, which is as good
        running = start_up(tmp_path_factory.mktemp("command"))
        relatives = family(running.process)
        yield running
        running.process.send_signal(signal.SIGINT)
        status, output = finish(running.process)
        assert (status, output.splitlines()[-1]) == (130, "ended")
        assert all_gone(relatives)
