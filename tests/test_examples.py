"""The scripts of examples/ run from end to end; their commands run in this process."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from twostream.cli import cli

EXAMPLES = Path(__file__).parents[1] / "examples"
# Script -> its arguments, and what it leaves.
RUNS = {
    "own_videos": (["--quick"], ["report.html", "runs/folder-split1", "videos/BoxSlides"]),
    "published_scores": ([], ["rgb-3.safetensors", "flow-3.safetensors", "table.md", "table.tex"]),
    "own_methods": ([], ["right.png", "store/right.safetensors", "motion.safetensors"]),
}


def test_every_script_is_run_and_in_the_readme() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*RUNS, "my_methods"}
    assert [name for name in RUNS if f"python examples/{name}.py" not in readme] == []


@pytest.mark.parametrize("name", RUNS)
def test_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, left = RUNS[name]
    outputs = []

    def run(words: list[str], *, check: bool) -> SimpleNamespace:
        """`python -m twostream ...` in this process, which has imported torch already."""
        assert (words[:3], check) == ([sys.executable, "-m", "twostream"], True)
        result = CliRunner().invoke(cli, words[3:], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        outputs.append(result.output)
        return SimpleNamespace(returncode=0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments, "--folder", "results"])
    runpy.run_path(os.fspath(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert [path for path in left if not (tmp_path / "results" / path).exists()] == []
    assert len(outputs) >= 3
    shown = capsys.readouterr().out
    if name == "published_scores":
        assert "rgb + flow, mean, calibrated" in shown
    if name == "own_methods":
        assert "block_matching 0.000" in shown
