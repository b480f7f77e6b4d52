from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fusion.exchange.exporting import EXPORTS
from fusion.exchange.formats import SCORE_FORMATS
from fusion.exchange.importing import import_scores, name_rows, read_order
from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import cli
from twostream.commands.scores import EXPORT_FORMATS
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
CLASSES = ["sit, down", "=run()"]


@pytest.fixture
def table(make_table: Make) -> ScoreTable:
    """Two videos, two segments, two crops."""
    scores = np.random.default_rng(1).normal(size=(2, 2, 2, 2))
    names = ["a/v_1", 'b/"2"']
    return make_table(scores, names=names, class_names=CLASSES, labels=[1, 0], stream="spatial")


def test_every_format_stands_at_the_command_line() -> None:
    assert tuple(EXPORTS) == EXPORT_FORMATS


@pytest.mark.parametrize("name", ["npz", "gluoncv"])
def test_what_is_written_with_names_comes_back(
    tmp_path: Path, table: ScoreTable, name: str
) -> None:
    EXPORTS[name](tmp_path / "out", table)
    back = import_scores(SCORE_FORMATS[name](tmp_path / "out"), metadata={})
    np.testing.assert_array_equal(back.scores, table.scores)
    assert back.names == table.names
    assert back.labels.tolist() == [1, 0]


def test_groups_stay_in_npz_and_are_said_to_be_missing_elsewhere(
    tmp_path: Path, table: ScoreTable
) -> None:
    grouped = replace(table, groups=("scene 1", "scene 2"))
    EXPORTS["npz"](tmp_path / "out", grouped)
    back = import_scores(SCORE_FORMATS["npz"](tmp_path / "out"), metadata={})
    assert back.groups == grouped.groups
    write_scores(tmp_path / "a.safetensors", grouped)
    for name in EXPORT_FORMATS:
        out = tmp_path / f"out.{name}"
        arguments = ["scores", "export", str(tmp_path / "a.safetensors"), "--out", str(out)]
        done = CliRunner().invoke(cli, [*arguments, "--format", name])
        assert done.exit_code == 0, done.output
        assert (f"groups of the videos are not in {out}" in done.stderr) == (name != "npz")


def test_an_array_comes_back_with_the_list_beside_it(tmp_path: Path, table: ScoreTable) -> None:
    EXPORTS["npy"](tmp_path / "out.npy", table)
    named = name_rows(
        SCORE_FORMATS["npy"](tmp_path / "out.npy"), read_order(tmp_path / "out.npy.txt")
    )
    np.testing.assert_array_equal(named.scores, table.scores)
    assert named.names == table.names
    assert named.labels is not None
    assert named.labels.tolist() == [1, 0]


def test_csv_holds_the_means_of_the_views(tmp_path: Path, table: ScoreTable) -> None:
    EXPORTS["csv"](tmp_path / "out.csv", table)
    back = import_scores(SCORE_FORMATS["csv"](tmp_path / "out.csv"), metadata={})
    means = table.scores.astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(back.scores[:, 0, 0], means, rtol=1e-6)
    assert back.class_names == table.class_names


def test_the_most_probable_classes(tmp_path: Path, make_table: Make) -> None:
    scores = np.log([[[0.1, 0.2, 0.7]], [[0.5, 0.3, 0.2]]])
    table = make_table(scores, labels=[2, -1])
    EXPORTS["top"](tmp_path / "out.csv", table, top=2)
    rows = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert rows == [
        ["name", "label", "class1", "prob1", "class2", "prob2"],
        ["v0", "c2", "c2", "0.700000", "c1", "0.200000"],
        ["v1", "", "c0", "0.500000", "c1", "0.300000"],
    ]


@pytest.mark.parametrize("name", ["npy", "gluoncv"])
def test_formats_that_need_labels(tmp_path: Path, make_table: Make, name: str) -> None:
    with pytest.raises(InputError, match="needs? a? ?label"):
        EXPORTS[name](tmp_path / "out", make_table([[1, 2]], labels=[-1]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_the_command(tmp_path: Path, make_table: Make, name: str) -> None:
    write_scores(tmp_path / "a.safetensors", make_table([[1, 2]]))
    arguments = ["scores", "export", str(tmp_path / "a.safetensors"), "--format", name]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert b"pickle" not in (tmp_path / "out").read_bytes()
