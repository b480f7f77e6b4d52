"""The checks for a GPU, run dry: what a step prints when it works, fails, or has no time."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu" / "check.sh"
STEPS = ["distributed", "tvl1_kernels"]  # cheap, and between them they import most of it


def check(*arguments: str, exit_code: int) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dry_run_prints_one_sound_line_a_step(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OUT", str(tmp_path))
    lines = check("300", "cpu", *STEPS, exit_code=0)
    assert [(line["step"], line["ok"]) for line in lines] == [(step, True) for step in STEPS]
    kept = (tmp_path / "gpu_check.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == lines


def test_a_step_that_fails_says_why() -> None:
    (line,) = check("300", "cuda:99", "mixing", exit_code=1)
    assert (line["step"], line["ok"]) == ("mixing", False)
    assert "CUDA" in line["why"]


def test_a_step_without_time_is_not_started() -> None:
    (line,) = check("1", "cpu", "mixing", exit_code=1)
    assert line == {"step": "mixing", "ok": False, "why": "no time left"}
