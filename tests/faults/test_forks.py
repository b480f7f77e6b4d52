import json
import socket
import sys
import threading

import pytest

from .forks import CAN_FORK, Forks


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


@pytest.mark.skipif(not CAN_FORK, reason="no server there")
def test_a_program_whose_start_nobody_heard_of_is_not_started_again(tmp_path):
    forks, program = Forks("extraction"), tmp_path / "program.py"
    program.write_text(
        "import os\nwith open('ran', 'a') as file:\n    file.write(f'{os.getpid()} ')"
    )
    request = {
        "argv": [str(program)],
        "cwd": str(tmp_path),
        "environment": {"PYTHONPATH": str(tmp_path)},
        "files": [str(tmp_path / "out"), str(tmp_path / "err")],
        "program": str(program),
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(forks.address)
        server.sendall(json.dumps(request).encode() + b"\n")
    pid = forks.ask(**request)
    assert forks.ask(pid=pid, wait=True) == 0
    assert (tmp_path / "ran").read_text() == f"{pid} "
    assert forks.ask(**request) == pid
