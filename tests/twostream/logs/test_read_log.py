"""The notes of a laboratory, and the CSV tables of the code that it ran."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twostream.cli import cli
from twostream.errors import InputError
from twostream.logs.read_log import read_logs
from twostream.logs.runs import pair_runs, replay_schedule


def logs(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["logs", "import", *map(str, arguments)])


@pytest.fixture(scope="session")
def notes(shared_data: Path) -> list[Path]:
    """Notes on HMDB51 and on UCF101."""
    folder = shared_data.parent / "lab-notes"
    found = [path for number in ("002", "003") for path in folder.glob(f"{number}_*.txt")]
    if len(found) < 2:
        pytest.skip(f"no notes at {folder}")
    return found


def test_every_table_of_the_notes(notes: list[Path]) -> None:
    runs, results = read_logs(notes, videos={})
    found = [(run.subset, run.epochs()[0], run.epochs()[-1], len(run.rows)) for run in runs]
    assert found == [
        ("val", 0, 7, 8), ("val", 0, 34, 35), ("val", 0, 34, 35),
        ("train", 0, 0, 1), ("train", 0, 0, 1), ("train", 0, 37, 38), ("val", 0, 37, 38),
        ("val", 0, 20, 21), ("val", 0, 49, 50),
        ("train", 59, 59, 1), ("train", 25, 25, 1), ("val", 59, 59, 1), ("val", 25, 25, 1),
        ("train", 4, 8, 5), ("val", 4, 8, 5),
        ("train", 0, 2, 3), ("val", 0, 2, 3),
        ("train", 0, 19, 20), ("val", 6, 18, 13),
        ("train", 0, 3, 4), ("val", 0, 3, 4),
        ("train", 0, 16, 17), ("val", 0, 16, 17),
    ]  # fmt: skip
    assert len(results) == 16


def test_the_plateau_schedule_explains_every_rate(notes: list[Path]) -> None:
    runs, _ = read_logs(notes, videos={})
    replays = [replay for run in pair_runs(runs) if (replay := replay_schedule(run))]
    assert [len(replay.epochs) for replay in replays] == [38, 5, 3, 13, 4, 17]
    assert all(replay.agreeing() == len(replay.epochs) for replay in replays)
    assert replays[0].floor_from == 23


def test_two_percentages_are_no_counts(notes: list[Path]) -> None:
    shown = json.loads(logs(*notes[:1], "--json").output)
    assert [line.split(", ", 1)[1] for line in shown["odd"]] == [
        "top1: 59.0865 is no k/1530; 904/1530 is 59.0850",
        "top1: 50.2601 is no k/1530; 769/1530 is 50.2614",
    ]
    assert json.loads(logs(notes[1], "--json").output)["odd"] == []


TRAIN = "Epoch,Data Time,Loss,Prec@1,Prec@5,lr\n0,0.5,2,50,90,0.01\n1,0.5,1.5,60,95,0.01\n"
TEST = "Epoch,Batch Time,Loss,Prec@1,Prec@5\n0,1,2,40,80\n1,1,1.9,45.01,85\n0,1,2,40,80\n"


def test_csv_tables_become_run_logs(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "test.csv").write_text(TEST)
    result = logs(
        tmp_path / "train.csv", tmp_path / "test.csv", "--out", tmp_path / "runs",
        "--train-videos", 10, "--test-videos", 20,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "test.csv:1: val epoch 1, top1: 45.01 is no k/20; 9/20 is 45.00" in result.output
    first, second = (
        list(csv.DictReader((tmp_path / "runs" / name / "log.csv").read_text().splitlines()))
        for name in ("run-01", "run-02")
    )
    assert [(row["epoch"], row["subset"], row["top1"], row["videos"]) for row in first] == [
        ("0", "train", "5", "10"), ("0", "val", "8", "20"),
        ("1", "train", "6", "10"), ("1", "val", "9", "20"),
    ]  # fmt: skip
    assert first[0]["lr"] == "0.01"
    assert len(second) == 1


def test_a_file_without_any(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("| a | b |\n")
    with pytest.raises(InputError, match=r"a.txt: no epochs and no results; expected console text"):
        read_logs([tmp_path / "a.txt"], videos={})
