from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fusion.combining.inputs import FusionOptions
from fusion.tables.score_file import ScoreTable, read_scores, write_scores
from fusion.workflows import compare_files, fuse_files, tune_files
from twostream.cli import cli
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def folder(make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two splits of two streams; one video is in both."""
    monkeypatch.chdir(tmp_path)
    for split, names in ((1, ["a_g1", "b_g1", "c_g2"]), (2, ["a_g1", "d_g3", "e_g4", "f_g5"])):
        labels = [0, 1, 1, 0][: len(names)]
        for stream, scores in (
            ("rgb", [[3, 0], [3, 0], [0, 1], [1, 0]]),
            ("flow", [[0, 1], [0, 4], [0, 2], [0, 2]]),
        ):
            about = {"stream": stream, "dataset": "hmdb51", "split": split, "subset": "test"}
            table = make_table(scores[: len(names)], labels=labels, names=names, **about)
            write_scores(Path(f"{stream}-{split}.safetensors"), table)
    return tmp_path


def test_fuse_shows_each_split_the_mean_and_what_is_not_there(folder: Path) -> None:
    result = CliRunner().invoke(
        cli, ["fuse", "rgb=rgb-{split}.safetensors", "flow=flow-{split}.safetensors",
              "--out", "fused-{split}.safetensors"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:7] == [
        "splits 1, 2; the mean is of these 2; split 3 is not there",
        "segments fused by mean",
        "",
        "               split 1         split 2        mean top-1   mean class",
        "rgb            2/3  66.67 %    3/4  75.00 %   70.83 %      75.00 %",
        "flow           2/3  66.67 %    2/4  50.00 %   58.33 %      50.00 %",
        "fused (mean)   3/3  100.00 %   3/4  75.00 %   87.50 %      87.50 %",
    ]
    assert read_scores("fused-2.safetensors").metadata["split"] == 2


def test_a_name_for_the_scores_of_several_splits(folder: Path) -> None:
    options = FusionOptions(files=[Path("rgb-{split}.safetensors")])
    with pytest.raises(InputError, match=r"--out f.safetensors: for 2 .*f-split\{split\}\.safet"):
        fuse_files(options, out=Path("f.safetensors"))


def test_inputs_that_differ_between_splits(folder: Path, make_table: Make) -> None:
    files = [Path(f"{name}.safetensors") for name in ("rgb-1", "flow-1", "rgb-2")]
    with pytest.raises(InputError, match="split 1 has rgb, flow; split 2 has rgb"):
        fuse_files(FusionOptions(files=files, splits="all"))
    table = read_scores(files[0])
    write_scores(files[0], make_table(
        table.scores[:, 0, 0], labels=table.labels, names=table.names,
        **table.metadata | {"protocol": "clips19"},
    ))  # fmt: skip
    result = fuse_files(FusionOptions(files=files[::2], splits="all"))
    assert result["warnings"][0] == (
        "rgb: protocol differs between the splits: 1 clips19, 2 not known"
    )


def test_compare_pairs_within_the_splits(folder: Path) -> None:
    options = FusionOptions(files=[Path(f"{s}-{{split}}.safetensors") for s in ("rgb", "flow")],
                            groups=r"_(g\d)", strategies=["mean"])  # fmt: skip
    result = compare_files(options, classes=True)
    assert (result["videos"], result["answers"], result["groups"]) == (6, 7, 5)
    assert [row["percent"] for row in result["systems"]] == pytest.approx(
        [70.8333, 58.3333, 87.5], abs=1e-4
    )
    assert [pair["first"] for pair in result["pairs"]] == ["rgb", "rgb", "flow"]
    assert [row["videos"] for row in result["classes"]] == [3, 4]
    assert [sum(row["correct"].values()) for row in result["classes"]] == [3 + 0 + 2, 2 + 4 + 4]


def test_tune_chooses_for_each_split(folder: Path) -> None:
    options = FusionOptions(files=[Path(f"{s}-{{split}}.safetensors") for s in ("rgb", "flow")])
    result = tune_files(options, choose="test", curve=Path("curve-{split}.csv"))
    assert [row["picked"]["correct"] for row in result["splits"]] == [3, 3]
    assert result["picked"] == pytest.approx(87.5)
    expected = np.mean([row["weights"]["rgb"] for row in result["splits"]])
    assert result["weights"]["rgb"] == pytest.approx(expected)
    assert Path("curve-2.csv").is_file()
    shown = CliRunner().invoke(
        cli, ["tune", "rgb-{split}.safetensors", "flow-{split}.safetensors", "--choose", "test"]
    )
    assert "CHOSEN ON THESE VERY VIDEOS" in shown.stdout
