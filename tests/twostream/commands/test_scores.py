from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from fusion.tables.score_file import read_scores
from twostream.cli import cli

SCORES = np.array([[1, 2], [3, 4]], np.float32)


def twostream(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["scores", "import", *map(str, arguments)])


def test_rows_without_names_take_them_and_class_names_from_lists(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SCORES)
    (tmp_path / "all.txt").write_text("run/a.avi\nrun/b.avi\n")
    (tmp_path / "list.txt").write_text("run/2 30 1\nrun/1 30 0\n")
    (tmp_path / "classes.txt").write_text("1 jump\n2 run\n")
    out = tmp_path / "a.safetensors"
    result = twostream(
        tmp_path / "a.npy", "--format", "npy", "--stream", "spatial", "--out", out,
        "--order", tmp_path / "list.txt", "--order-names", tmp_path / "all.txt",
        "--classes", tmp_path / "classes.txt",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 videos, 1 segments, 1 crops, 2 classes" in result.output
    assert f"next: twostream scores show {out}" in result.output
    table = read_scores(out)
    assert table.names == ("run/b", "run/a")
    assert table.class_names == ("jump", "run")
    assert table.labels.tolist() == [1, 0]
    assert table.metadata == {"stream": "spatial"}


def test_classes_in_another_order_are_said(tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Jump\n2 Run\n")
    (lists / "trainlist01.txt").write_text("Jump/v_Jump_g08_c01.avi 1\n")
    (lists / "testlist01.txt").write_text("Jump/v_Jump_g01_c01.avi\nRun/v_Run_g01_c01.avi\n")
    (tmp_path / "a.csv").write_text(
        "name,label,Run,Jump\nRun_g01_c01,Run,3,1\nJump_g01_c01,Jump,1,4\n"
    )
    out = tmp_path / "a.safetensors"
    result = twostream(
        tmp_path / "a.csv", "--format", "csv", "--stream", "motion", "--out", out,
        "--dataset", "ucf101", "--annotations", lists,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "another order" in result.output
    table = read_scores(out)
    assert table.scores[:, 0, 0].tolist() == [[4, 1], [1, 3]]
    assert table.labels.tolist() == [0, 1]


def test_a_file_without_names_and_no_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SCORES)
    result = twostream(
        tmp_path / "a.npy", "--format", "npy", "--stream", "s", "--out", tmp_path / "o"
    )
    assert result.exit_code == 2
    assert "a.npy: holds no video names; name the videos of its rows (--order" in result.output


def test_the_formats_are_listed_where_none_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").touch()
    assert "two-stream-pickle, counted-pickle, tsn-npz" in twostream(tmp_path / "a.pkl").output
