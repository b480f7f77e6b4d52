"""The short forms of the fault scripts; each script's first lines say how to run the long one."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .forks import Forks

HERE = Path(__file__).parent
SHORT = {  # the longest first
    "kill_extraction": ["--rounds", "10"],
    "kill_dask_worker": ["--kills", "1"],
    "kill_scoring": ["--rounds", "3"],
    "kill_training": ["--runs", "1", "--kills", "2"],
    "two_at_once": ["--processes", "4", "--rounds", "1"],
    "fail_at_every_call": [],
    "full_disk": ["--sizes", "1"],
    "mutations": ["--count", "20"],
    "odd_videos": [],
    "hostile_names": [],
    "many_tiny_videos": ["--videos", "50"],
}
# Programs that are to have a memory of their own, or that fork themselves often.
PROCESSES = {"odd_videos", "many_tiny_videos", "fail_at_every_call"}
CANNOT = 77


@pytest.fixture(scope="module")
def outcomes(request):
    """Result of each selected script; three run at a time, for they sleep and wait a lot."""
    chosen = [item.callspec.params["name"] for item in request.session.items
              if item.module is request.module and hasattr(item, "callspec")]  # fmt: skip
    with ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(run, name) for name in chosen}
        pool.shutdown(cancel_futures=True)


def run(name):
    if name not in PROCESSES:
        fork = Forks("extraction").start(SHORT[name], cwd=HERE, program=HERE / f"{name}.py")
        output, errors = fork.communicate()
        return subprocess.CompletedProcess(name, fork.returncode, output, errors)
    return subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), *SHORT[name]],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", SHORT)
def test_short_form(name, outcomes):
    done = outcomes[name].result()
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_script_has_a_short_form():
    scripts = {path.stem for path in HERE.glob("*.py") if not path.stem.startswith("test_")}
    assert scripts - {"scene", "forks"} == SHORT.keys()
