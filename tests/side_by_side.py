"""Tests side by side, in forks of the process that has collected them.

    OMP_NUM_THREADS=1 python -m pytest -p tests.side_by_side --processes 3

Each process of pytest-xdist imports all libraries and collects all tests for itself, which takes it
longer than most folders of tests. Here a process takes a file of tests after the other, so that
fixtures of a module are made once.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2
import pytest

from .faults.forks import CAN_FORK


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processes", type=int, default=1, help="how many processes run the tests")


class Sender:
    """In place of the terminal: what a process has to tell goes to the first one."""

    def __init__(self, config: pytest.Config, results: Connection) -> None:
        self.config, self.results = config, results

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self.results.send((nodeid, location, None))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.results.send((report.nodeid, report.location, data))


def run_files(
    session: pytest.Session,
    files: list[list[pytest.Item]],
    turns: int,
    results: Connection,
    threads: int,
) -> None:
    """Run the tests of one file after the other, in the turns that a pipe gives."""
    cv2.setNumThreads(threads)
    plugins = session.config.pluginmanager
    capture = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()  # what it writes to is the file of the first process
    capture.start_global_capturing()
    plugins.unregister(name="terminalreporter")
    plugins.register(Sender(session.config, results))

    def items() -> Iterator[pytest.Item]:
        while turn := os.read(turns, 2):
            yield from files[int.from_bytes(turn)]

    for item, following in itertools.pairwise(itertools.chain(items(), [None])):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail or session.shouldstop:
            break


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    config, hook = session.config, session.config.hook
    alone = config.option.processes == 1 or not CAN_FORK
    if alone or config.option.collectonly or session.testsfailed:
        return None  # pytest's own loop
    by_file = itertools.groupby(session.items, key=lambda item: item.path)
    files = {path: list(items) for path, items in by_file}
    # Long files first: in the end, processes wait for no more than a short one.
    in_order = sorted(files, key=lambda path: path.stat().st_size, reverse=True)
    turns, give = os.pipe()
    os.write(give, b"".join(turn.to_bytes(2) for turn in range(len(files))))
    os.close(give)
    # Each test as a dot: files take turns, and would be named at each.
    config.pluginmanager.getplugin("terminalreporter").showfspath = False
    gc.collect()
    gc.freeze()  # or else collections in the forks would copy all that is shared
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # ends those that there are, since threads do not survive the fork
    fork = multiprocessing.get_context("fork")
    tests: dict[Connection, str] = {}  # what runs in each process
    processes, ended = [], 0
    for _ in range(config.option.processes):
        results, send = fork.Pipe(duplex=False)
        arguments = (session, [files[path] for path in in_order], turns, send, threads)
        processes.append(fork.Process(target=run_files, args=arguments))
        processes[-1].start()
        send.close()
        tests[results] = ""
    try:
        while tests:
            for results in wait(list(tests)):
                assert isinstance(results, Connection)
                try:
                    nodeid, location, data = results.recv()
                except EOFError:
                    if running := tests.pop(results):
                        session.shouldfail = f"the process of {running} has died"
                        raise session.Failed(session.shouldfail) from None
                    continue  # it has no more turns
                if data is None:
                    tests[results] = nodeid
                    hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
                    continue
                report = hook.pytest_report_from_serializable(config=config, data=data)
                hook.pytest_runtest_logreport(report=report)
                if report.when == "teardown":
                    tests[results], ended = "", ended + 1
                    hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
    finally:
        if tests:
            for process in processes:
                process.terminate()
        for process in processes:
            process.join()
    if ended < len(session.items):
        session.shouldfail = f"{len(session.items) - ended} tests have not run"
        raise session.Failed(session.shouldfail)
    return True
