from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]


def test_it_runs_the_real_commands_and_ends_with_a_table(
    twostream: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands themselves are replaced here; they have tests of their own."""
    commands = []

    def run(command: list[str], **options: Any) -> Any:
        commands.append(command[3:])
        top1 = {"correct": 54, "of": 108, "percent": 50.0, "interval": [40.7, 59.3]}
        rows = [{"stream": stream, "top1": top1} for stream in ("spatial", "motion")]
        return SimpleNamespace(
            returncode=0, stdout=json.dumps({"inputs": rows, "fused": {"top1": top1}})
        )

    monkeypatch.setattr(subprocess, "run", run)
    result = twostream("demo", "--folder", "here")
    names = [command[0] for command in commands]
    assert names == ["init", "extract-flow", "train", "train", *["fuse"] * 6, "report"]
    assert "$ twostream train --stream motion --epochs 8" in result.output
    table = result.output.partition("Wilson interval:")[2]
    assert table.count("54/108   50.00 %  [40.7, 59.3]") == 8


def test_a_command_that_fails_ends_the_demo(
    twostream: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=1, stdout=""))
    result = twostream("demo", exit_code=2)
    assert "that command ended with exit code 1" in result.output
