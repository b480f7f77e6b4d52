from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import cli

from ..conftest import CLASSES, MiniProject

Make = Callable[..., ScoreTable]
NAMES = [f"{name}/v_{name}_g{group:02}_c01" for name in CLASSES for group in (1, 2)]


@pytest.fixture
def report(
    make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """The report on two streams, of which the fusion wins videos 1 and 3; one is in no store."""
    monkeypatch.chdir(tmp_path)
    names = [*NAMES, "../elsewhere"]
    labels = [0, 0, 1, 1, 1]
    margins = {"rgb": [2.0, -1.0, -2.0, 1.0, 1.0], "flow": [-1.0, 3.0, -1.0, -3.0, -3.0]}
    for stream, values in margins.items():
        scores = np.stack([values, np.zeros(5)], axis=1)
        table = make_table(
            scores, labels=labels, names=names, class_names=list(CLASSES), stream=stream
        )
        write_scores(Path(f"{stream}.safetensors"), table)

    def run(*options: object) -> Result:
        command = ["report", "rgb.safetensors", "flow.safetensors", "--strategy", "mean"]
        return CliRunner().invoke(cli, [*command, *map(str, options)], catch_exceptions=False)

    return run


def test_videos_won_and_lost_have_pictures_from_the_store(
    report: Callable[..., Result], mini: MiniProject
) -> None:
    assert report("--store", mini.root / "store").exit_code == 0
    page = Path("report.html").read_text()
    images = re.findall(r'<img alt="(\w+) of ([^"]+)" src="data:image/jpeg;base64,([^"]+)">', page)
    assert {what for what, *_ in images} == {"frame", "flow"}
    assert {name for _, name, _ in images} < set(NAMES)
    assert all(base64.b64decode(data).startswith(b"\xff\xd8\xff") for *_, data in images)
    card = page[page.index("<img") :].partition("</figure>")[0]
    assert re.search(r"rgb: \w+ \d+ %, \w+ \d+ %", card)
    assert re.search(r"true: \w+", card)


def test_without_a_store_there_are_no_pictures(report: Callable[..., Result]) -> None:
    result = report("--store", "absent")
    assert "store absent is not there" in result.stderr
    assert "<img" not in Path("report.html").read_text()
