"""`twostream score` on a network that was trained for an epoch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from fusion.tables.score_file import read_scores
from twostream.cli import cli
from twostream.data.training_videos import VIDEOS, read_videos

from ..conftest import MiniProject

Command = Callable[..., Result]
TwoProcesses = Callable[..., subprocess.CompletedProcess[str]]

# Two batches of four videos under segments3, a part each.
SMALL_PARTS = ["--protocol", "segments3", "--batch-size", "12", "--device", "cpu"]
COMMAND_LINE = """
from twostream.cli import main
from twostream.scoring import score_file
score_file.VIEWS_PER_PART = 12
main()
"""


@pytest.fixture(scope="module")
def run(mini: MiniProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a spatial network; tests that change it copy it."""
    runs = tmp_path_factory.mktemp("runs")
    options = ["--weights", "none", "--input-size", "32", "--batch-size", "4", "--device", "cpu",
               "--model", "shufflenet_v2_x0_5",
               "--val-fraction", "0.3", "--protocol", "segments3", "--epochs", "1"]  # fmt: skip
    arguments = ["train", "--stream", "spatial", *mini.arguments, "--runs", str(runs), *options]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return runs / "ucf101-split1" / "spatial-shufflenet_v2_x0_5"


def test_val_is_what_the_run_held_out(twostream: Command, mini: MiniProject, run: Path) -> None:
    score = ["score", str(run), *mini.arguments, "--subset", "val", "--out", "val", *SMALL_PARTS]
    twostream(*score)
    first, again = read_scores(run / "scores" / "val.safetensors"), read_scores(Path("val"))
    assert again.names == first.names
    assert np.allclose(again.scores, first.scores, atol=1e-5)
    assert "; done already" in twostream(*score).output
    wrong = twostream(*score, "--split", "2", exit_code=2)
    assert "held out videos of ucf101 split 1, not of ucf101 split 2" in wrong.output


def test_outside_a_project_lists_and_store_are_those_of_the_run(
    twostream: Command, mini: MiniProject, run: Path
) -> None:
    copy = shutil.copytree(run, run.with_name("copy"))  # its paths are relative to it
    config = (copy / "config.toml").read_text().replace("split = 1", "split = 2")
    (copy / "config.toml").write_text(config)
    score = ["score", str(copy), "--out", "scores", "--protocol", "segments:1", "--device", "cpu"]
    done = twostream(*score)
    about = read_scores(Path("scores")).metadata
    assert (about["dataset"], about["split"], about["subset"]) == ("ucf101", 2, "test")
    taken = "dataset, annotations, split, store"
    assert done.stderr.splitlines()[0] == f"options from {copy / 'config.toml'}: {taken}"
    # A project comes first; of another data set nothing is taken.
    lists = mini.root / "annotations"
    Path("twostream.toml").write_text(
        f'dataset = "ucf101"\nannotations = "{lists}"\nstore = "{mini.root}/store"\n'
    )
    stderr = twostream(*score).stderr.splitlines()
    assert stderr[1] == f"options from {copy / 'config.toml'}: split"
    Path("twostream.toml").write_text('dataset = "hmdb51"\n')
    assert "--annotations is missing" in twostream(*score, exit_code=2).stderr
    Path("twostream.toml").unlink()
    (copy / "config.toml").write_text(re.sub("annotations = .*", 'annotations = "gone"', config))
    assert "--annotations is missing" in twostream(*score, exit_code=2).stderr


def test_val_of_lists_that_have_changed(
    twostream: Command, mini: MiniProject, run: Path, tmp_path: Path
) -> None:
    lists = shutil.copytree(mini.root / "annotations", tmp_path / "lists")
    rows = (lists / "trainlist01.txt").read_text().splitlines(keepends=True)
    (lists / "trainlist01.txt").write_text("".join(rows[:5] + rows[6:]))
    arguments = [*mini.arguments, "--annotations", str(lists), "--subset", "val"]
    result = twostream("score", str(run), *arguments, *SMALL_PARTS, exit_code=2)
    assert "the store or the lists have changed since training" in result.output


def test_videos_of_the_training_list_are_refused_or_counted_in_every_result(
    twostream: Command, mini: MiniProject, run: Path, tmp_path: Path
) -> None:
    """A network of split 1 on a test list of split 2 that shares three videos with its own."""
    lists = shutil.copytree(mini.root / "annotations", tmp_path / "lists")
    train = (lists / "trainlist01.txt").read_text().splitlines()
    test = (lists / "testlist01.txt").read_text().splitlines()
    with_label = [row if row[-2:] in (" 1", " 2") else f"{row} 1" for row in test]
    (lists / "testlist02.txt").write_text("\n".join([*train[:3], test[0]]) + "\n")
    (lists / "trainlist02.txt").write_text("\n".join([*train[3:], *with_label[1:]]) + "\n")
    copy = shutil.copytree(run, tmp_path / "run")
    arguments = [*mini.arguments, "--annotations", str(lists), *SMALL_PARTS]
    score = ["score", str(copy), *arguments, "--split", "2", "--protocol", "segments:1"]
    refused = twostream(*score, exit_code=2).output
    assert f"{copy} has seen 3 of the 4 videos of the subset test of ucf101 split 2" in refused
    assert "--on-training-videos" in refused
    assert not list((copy / "scores").glob("*segments1*"))
    counted = read_videos(copy / VIDEOS)
    parts = [
        next(v.part for v in counted if f"{v.name}.avi" == row.split()[0]) for row in train[:3]
    ]
    trained, chose = parts.count("train"), parts.count("val")
    twostream(*score, "--on-training-videos")
    (file,) = (copy / "scores").glob("*segments1*")
    assert file.name == "ucf101-split2-test-segments1.safetensors"
    expected = f"{trained} of 4 videos were trained on"
    if chose:
        expected += f", {chose} of 4 chose the epoch"
    twostream("fuse", file, "--out", "fused")
    twostream("report", file, "fused", "--folds", "2", "--out", "page.html")
    assert expected in Path("page.html").read_text()
    shown = [
        *(["fuse", file], ["compare", file, "fused"], ["scores", "check", file]),
        *(["fuse", "fused"], ["tune", file, "fused", "--choose", "test"]),
    ]
    for command in shown:
        assert expected in twostream(*command).output, command
    # Without the record of the run, by the weights alone; lists that share nothing are free.
    (copy / VIDEOS).unlink()
    assert "has seen 3 of the 4 videos" in twostream(*score, exit_code=2).output
    twostream("score", str(copy), *arguments, "--protocol", "segments:1")
    assert (copy / "scores" / "test-segments1.safetensors").is_file()


def test_a_run_that_selected_on_test_has_no_val(
    twostream: Command, mini: MiniProject, run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    config = (run / "config.toml").read_text()
    (copy / "config.toml").write_text(config.replace('select = "val"', 'select = "test"'))
    arguments = [*mini.arguments, "--subset", "val"]
    result = twostream("score", str(copy), *arguments, *SMALL_PARTS, exit_code=2)
    assert "selected its epoch on the test videos and held none out" in result.output


def test_val_of_a_run_whose_options_are_not_known(
    twostream: Command, mini: MiniProject, run: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    (other / "config.toml").write_text('select = "val"\ndataset = "ucf101"\n')
    result = twostream("score", str(other), *mini.arguments, "--subset", "val", exit_code=2)
    assert "it lacks split, val-fraction, so what the run held out is not known" in result.output


def test_the_file_carries_the_card_of_its_protocol(
    twostream: Command, mini: MiniProject, run: Path
) -> None:
    twostream(
        "score", str(run), *mini.arguments, *SMALL_PARTS, "--protocol", "twice3", "--out", "s"
    )
    shown = json.loads(twostream("scores", "show", "s", "--json").stdout)
    assert shown["about"]["protocol_card"] == {
        "text": "the first and the middle snippet, three crops of 256: 6 views",
        "snippets": 2, "snippet_length": 1, "interval": 1, "frame_size": [],
        "starts": "start_and_centre_of_segments",
        "crops": 3, "views": "three_crop", "scale": 256 / 224, "side": 37,
    }  # fmt: skip
    assert "three crops of 256: 6 views" in twostream("scores", "show", "s").output


def test_two_processes_give_the_bytes_of_one(
    twostream: Command, two_processes: TwoProcesses, mini: MiniProject, run: Path, tmp_path: Path
) -> None:
    """With as many computing threads: on them depend the last bits of a convolution."""
    arguments = ["score", str(run), *mini.arguments, "--subset", "train", *SMALL_PARTS]
    arguments.append("--on-training-videos")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        twostream(*arguments, "--out", "by-one")
    finally:
        torch.set_num_threads(threads)
    done = two_processes(COMMAND_LINE, *arguments, "--out", "by-two", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["videos"] == 12
    assert Path("by-one").read_bytes() == Path("by-two").read_bytes()
    assert not list(tmp_path.glob("*.parts"))
