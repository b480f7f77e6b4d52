"""The short forms of the fault scripts; each script's first lines say how to run the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHORT = {
    "kill_extraction": ["--rounds", "20"],
    "kill_scoring": ["--rounds", "3"],
    "kill_training": ["--runs", "1", "--kills", "2"],
    "two_at_once": ["--processes", "4", "--rounds", "1"],
    "fail_at_every_call": [],
    "full_disk": ["--sizes", "1"],
    "mutations": ["--count", "20"],
    "odd_videos": [],
    "hostile_names": [],
    "many_tiny_videos": ["--videos", "100"],
    "kill_dask_worker": ["--kills", "1"],
}
CANNOT = 77


@pytest.mark.parametrize("name", SHORT)
def test_short_form(name):
    root = str(HERE.parents[1])
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), *SHORT[name]],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_script_has_a_short_form():
    scripts = {path.stem for path in HERE.glob("*.py")} - {"scene", "test_scripts"}
    assert scripts == SHORT.keys()
