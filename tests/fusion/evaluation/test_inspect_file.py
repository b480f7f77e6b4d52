from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fusion.evaluation.inspect_file import content_lines, contents, findings
from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import cli

Make = Callable[..., ScoreTable]


def check(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["scores", "check", *map(str, arguments)])


@pytest.fixture
def sound(make_table: Make, tmp_path: Path) -> Path:
    """A file with nothing odd in it."""
    write_scores(tmp_path / "sound.safetensors", make_table(np.eye(8) * 9, labels=range(8)))
    return tmp_path / "sound.safetensors"


def test_nothing_odd(sound: Path) -> None:
    result = check(sound)
    assert result.exit_code == 0
    assert result.output == f"{sound}: sound\n"


@pytest.mark.parametrize(
    ("scores", "given", "finding"),
    [
        ([[1, 2], [3, 1], [1, 2]], {"labels": [1, 0, 1]}, "1 videos have the scores of another"),
        (
            [[1, 2], [3, 3]],
            {"labels": [1, 0]},
            "1 videos have views that score all classes alike: v1",
        ),
        (
            [[0.5, 0.5], [0.9, 0.2]],
            {"score_type": "probs"},
            "1 videos have probabilities that do not sum",
        ),
        (
            [[1, 2], [3, 1]],
            {"labels": [1, -1]},
            "1 of 2 videos have no label; 1 of 2 classes have no",
        ),
        (
            [[row, 20 - row] for row in range(20)],
            {"labels": [0] * 10 + [1] * 10},
            r"top-1 is 0.00 %, no better than chance \(50.00 %\)",
        ),
    ],
)
def test_what_is_odd(make_table: Make, scores: object, given: dict, finding: str) -> None:
    assert any(re.match(finding, line) for line in findings(make_table(scores, **given)))


def test_a_flipped_bit_and_a_cut_file_are_broken(sound: Path, tmp_path: Path) -> None:
    data = bytearray(sound.read_bytes())
    data[-300] ^= 1
    (tmp_path / "flipped").write_bytes(data)
    (tmp_path / "cut").write_bytes(data[:-5])
    result = check(sound, tmp_path / "flipped", tmp_path / "cut", "--json")
    assert result.exit_code == 1
    files = json.loads(result.output)["files"]
    assert [file["sound"] for file in files] == [True, False, False]
    assert "does not match its checksum" in files[1]["error"]
    assert "cut: not a valid score file (truncated" in files[2]["error"]


def test_files_that_do_and_do_not_join(sound: Path, make_table: Make, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    write_scores(other, make_table(np.eye(8), labels=range(8), protocol="clips19"))
    result = check(sound, other)
    assert result.exit_code == 0
    assert "together: they join\n  the protocols differ" in result.output
    write_scores(other, make_table(np.eye(8)[:7], labels=range(7)))
    result = check(sound, other)
    assert result.exit_code == 1
    assert f"{other} lacks 1: v7" in result.output


def test_contents(make_table: Make) -> None:
    table = make_table([[[19, 0, 38, -19], [19, 38, 0, -19]], [[0, 0, 0, 1]] * 2], labels=[1, -1],
                       score_type="logit_sum", summed_over=19, stream="spatial")  # fmt: skip
    shown = contents(table, first=1)
    assert shown["shape"] == {"videos": 2, "segments": 2, "crops": 1, "classes": 4}
    assert shown["accuracy"]["top1"]["of"] == 1
    assert shown["first"] == [
        {"name": "v0", "label": "c1", "top": [
            {"class": "c0", "score": 1}, {"class": "c1", "score": 1}, {"class": "c2", "score": 1},
        ]},
    ]  # fmt: skip
    assert content_lines(shown) == [
        "logit_sum, float32; videos 2, segments 2, crops 1, classes 4",
        "groups of videos: not known; intervals as if the videos were independent (--groups)",
        "summed_over: 19",
        "stream: spatial",
        "",
        "top-1 0/1  0.00 % [0.00, 79.35]   mean class 0.00 %",
        "",
        "v0 (true: c1): c0 1, c1 1, c2 1",
    ]


def test_groups_are_counted(make_table: Make) -> None:
    table = replace(make_table(np.eye(3)), groups=("film", "film", "other"))
    assert (
        content_lines(contents(table, first=0))[1]
        == "groups of videos: 2; intervals by 2 whole groups"
    )


def test_videos_without_label_and_more_than_there_are(make_table: Make) -> None:
    shown = contents(make_table([[0.25, 0.75]], labels=[-1], score_type="probs"), first=5)
    assert content_lines(shown)[-1] == "v0 (true: not known): c1 0.75, c0 0.25"
