"""Reports for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import cli

CLASSES = ("<script>alert(1)</script>", "a & b", '"c"', "d")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, make_table: Callable[..., ScoreTable]) -> Path:
    """Two run folders with logs and scores of three segments; names that would like to be HTML."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 80)
    names = [f"<b>clip</b>/v_g{row % 10:02d}_c{row:02d}" for row in range(80)]
    for stream, strength in (("spatial", 1.0), ("motion", 1.5)):
        scores = rng.normal(size=(80, 3, 1, 4))
        scores[np.arange(80), :, 0, labels] += strength
        table = make_table(scores, names=names, class_names=CLASSES, labels=labels, stream=stream)
        write_scores(folder / stream / "scores" / "test.safetensors", table)
        rows = ["epoch,subset,loss,top1,videos,lr", "0,train,2,10,40,0.1", "0,val,2.5,9,40,",
                "1,train,1,20,40,0.1", ""]  # fmt: skip
        (folder / stream / "log.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="session")
def write_report(runs: Path) -> Callable[..., str]:
    """A function that runs `twostream report` on the two runs."""

    def write(out: Path, *options: str) -> str:
        files = [str(runs / stream) for stream in ("spatial", "motion")]
        result = CliRunner().invoke(cli, ["report", *files, *options, "--out", str(out)])
        assert result.exit_code == 0, result.output
        return out.read_text()

    return write


@pytest.fixture(scope="session")
def page(write_report: Callable[..., str], runs: Path) -> str:
    """A report with all that there can be."""
    options = ("--groups", r"_(g\d+)_", "--title", "A <report>")
    return write_report(runs / "report.html", *options)
