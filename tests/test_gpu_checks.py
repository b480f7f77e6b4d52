"""The checks for a GPU, run dry: what a step prints when it works, fails, or has no time."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.gpu.one_step import MODULES
from benchmarks.gpu.run_steps import STEPS as LONGEST

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu" / "check.sh"
STEPS = {"mixing": 2}  # a cheap one, and how many lines it prints
FAILING = """
import sys
from types import SimpleNamespace

def mixing(device):
    yield {"ok": True, "device": device}
    raise ValueError(f"no such device: {device}")

target = SimpleNamespace(Target=lambda device, folder: device)
sys.modules |= {
    "benchmarks.gpu.target": target, "benchmarks.gpu.training": SimpleNamespace(mixing=mixing)
}
"""


def check(*arguments: str, exit_code: int) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_step_is_there() -> None:
    """Imported too: their modules name much of the packages."""
    assert MODULES.keys() == LONGEST.keys()
    for step, module in MODULES.items():
        assert callable(getattr(import_module(f"benchmarks.gpu.{module}"), step))


def test_a_dry_run_prints_the_sound_lines_of_each_step(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OUT", str(tmp_path))
    lines = check("300", "cpu", *STEPS, exit_code=0)
    expected = [(step, True) for step, count in STEPS.items() for _ in range(count)]
    assert [(line["step"], line["ok"]) for line in lines] == expected
    kept = (tmp_path / "gpu_check.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == lines


def test_a_step_that_does_not_start_says_why(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('no CUDA of these tests')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (line,) = check("300", "cuda:99", "mixing", exit_code=1)
    assert (line["step"], line["ok"]) == ("mixing", False)
    assert "no CUDA of these tests" in line["why"]


def test_a_step_that_fails_says_why_after_its_lines(tmp_path: Path, monkeypatch: Any) -> None:
    """The step is one of these tests, so that no process needs torch."""
    (tmp_path / "sitecustomize.py").write_text(FAILING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done, failed = check("300", "cuda:99", "mixing", exit_code=1)
    assert done == {"step": "mixing", "ok": True, "device": "cuda:99"}
    assert (failed["step"], failed["ok"], failed["exit_code"]) == ("mixing", False, 1)
    assert "ValueError: no such device: cuda:99" in failed["why"]


def test_a_step_without_time_is_not_started() -> None:
    (line,) = check("1", "cpu", "mixing", exit_code=1)
    assert line == {"step": "mixing", "ok": False, "why": "no time left"}
