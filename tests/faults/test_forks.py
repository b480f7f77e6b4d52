import json
import socket
import sys
import threading

import pytest

from .forks import Forks


@pytest.mark.skipif(sys.platform == "win32", reason="has no such sockets")
def test_a_server_that_hangs_up_is_asked_again(tmp_path):
    """As it does where it is not told in time what is wanted; it has not acted then."""
    forks = Forks.__new__(Forks)  # no server is started
    forks.address = str(tmp_path / "server")
    asked = []

    def serve(listener):
        for number in range(3):
            connection, _ = listener.accept()
            with connection, connection.makefile() as stream:
                if number:
                    asked.append(json.loads(stream.readline()))
                if number == 2:
                    connection.sendall(b"7\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(forks.address)
        listener.listen()
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        assert forks.ask(pid=1, wait=False) == 7
        thread.join()
    assert asked == [{"pid": 1, "wait": False}] * 2
