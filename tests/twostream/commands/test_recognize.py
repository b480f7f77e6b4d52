"""Other videos through trained sequence networks, by the real command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from twostream.cli import cli
from twostream.sequence import toy

from .test_train_sequence import RUN, SMALL

VIDEOS = Path("toy-sequences/videos")
CPU = ("--device", "cpu", "--precision", "fp32", "--threads", "1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each stream on few videos, and the score files of their own lists."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(toy, "COUNTS", {"train": 5, "val": 1, "test": 2})
        for stream in ("spatial", "motion"):
            options = [*SMALL, "--epochs", "1", "--stream", stream]
            done = CliRunner().invoke(cli, ["train-sequence", *options])
            assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The spatial run, in the folder where the command is run."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return RUN


def rounded(hypotheses: dict[str, list[dict[str, object]]]) -> dict[str, object]:
    """Scores of a batch of another size differ in their last digits."""
    return {
        name: [(one["glosses"], pytest.approx(one["score"], abs=1e-3)) for one in found]
        for name, found in hypotheses.items()
    }


def test_a_list_gives_what_the_run_says_of_it(twostream: Callable[..., Result], run: Path) -> None:
    own = json.loads(twostream("recognize", run / "scores/test.safetensors", "--json").stdout)
    asked = ("recognize", run, "--videos", VIDEOS, "--list", "toy-sequences/test.csv", *CPU)
    found = json.loads(twostream(*asked, "--json").stdout)
    assert found["recognised"] == own["recognised"]
    assert rounded(found["hypotheses"]) == rounded(own["hypotheses"]), "by name and in order"
    assert "word error rate" in twostream(*asked).output


def test_a_folder_is_recognised_without_references(
    twostream: Callable[..., Result], run: Path
) -> None:
    other = run.with_name("motion-toy")
    asked = ("recognize", run, other, "--videos", VIDEOS / "test", *CPU)
    done = twostream(*asked, "--scores", "kept", "--out", "found.csv")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["000", "001"]
    assert "kept/spatial-toy.safetensors written" in done.stderr
    files = [f"kept/{name}-toy.safetensors" for name in ("spatial", "motion")]
    assert twostream("recognize", *files).stdout == done.stdout
    assert len(Path("found.csv").read_text().splitlines()) == 3
    again = twostream(*asked, "--scores", "kept", "--json")
    assert "kept/motion-toy.safetensors is up to date" in again.stderr
    assert json.loads(again.stdout)["recognised"] == {"without_reference": 2}


def test_videos_that_the_network_was_trained_on(
    twostream: Callable[..., Result], run: Path
) -> None:
    """With references: an error rate only on request. Without: recognised, and told."""
    asked = ("recognize", run, "--videos", VIDEOS, *CPU)
    listed = (*asked, "--list", "toy-sequences/train.csv")
    refused = twostream(*listed, exit_code=2).output
    assert f"{run} has seen 5 of the 5 videos of the list toy-sequences/train.csv" in refused
    assert "--on-training-videos" in refused
    done = twostream(*listed, "--on-training-videos", "--scores", "kept")
    assert "warning: spatial: 5 of 5 videos were trained on" in done.output
    again = twostream("recognize", "kept/spatial-toy.safetensors", "--json").stdout
    assert "5 of 5 videos were trained on" in json.loads(again)["warnings"][0]
    folder = twostream(*asked).output
    assert "5 of 8 videos were trained on, 1 of 8 chose the epoch" in folder


def test_lists_that_have_changed_since_training(
    twostream: Callable[..., Result], run: Path
) -> None:
    lists = Path("toy-sequences")
    csv_run = Path("runs/csv-sequences/spatial-toy")
    shutil.copytree(run, csv_run)
    config = (csv_run / "config.toml").read_text()
    (csv_run / "config.toml").write_text(config.replace('dataset = "toy"', 'dataset = "csv"'))
    data = ("--dataset", "csv", "--annotations", lists, "--videos", VIDEOS)
    train = ("train-sequence", *SMALL, *data, "--epochs", "2")

    def write(subset: str, rows: list[str]) -> None:
        (lists / f"{subset}.csv").write_text("".join(rows))

    header, *test = (lists / "test.csv").read_text().splitlines(keepends=True)
    _, *training = (lists / "train.csv").read_text().splitlines(keepends=True)
    write("test", [header, *test[1:]])
    write("train", [header, *training, test[0]])
    refused = twostream(*train, exit_code=2).output
    assert "1 video moved from test to training (test/000)" in refused
    assert "--restart" in refused

    write("test", [header, training[0], *test])
    write("train", [header, *training[1:]])
    load = (*train, "--name", "other", "--load", str(run))
    refused = twostream(*load, exit_code=2).output
    name = training[0].partition(",")[0]
    assert "has seen 1 of the 3 videos of the test list of csv" in refused
    assert f"1 of 3 videos were trained on ({name})" in refused
    assert not csv_run.with_name("spatial-other").exists()


def test_a_batch_of_one_frame_is_refused_with_its_name(
    twostream: Callable[..., Result], run: Path
) -> None:
    """A last map of one pixel, of one frame of one video: batch normalisation has one value."""
    lists = Path("toy-sequences")
    header, first, *_ = (lists / "train.csv").read_text().splitlines()
    (VIDEOS / "one").mkdir()
    Image.new("RGB", (32, 32)).save(VIDEOS / "one" / "0.png")
    _, glosses, _ = first.split(",")
    (lists / "train.csv").write_text(f"{header}\none,{glosses.split()[0]},one\n")
    data = ("--dataset", "csv", "--annotations", lists, "--videos", VIDEOS, "--batch-size", "1")
    size = ("--frame-size", "32", "--input-size", "32")
    refused = twostream("train-sequence", *SMALL, *data, *size, "--epochs", "1", exit_code=2).output
    assert "cannot learn from one (" in refused
    assert "--batch-size" in refused
    assert "Traceback" not in refused


def test_what_is_not_there_is_told(twostream: Callable[..., Result], run: Path) -> None:
    Path("new.csv").write_text(
        "name|glosses|frames\none|UP HAND|test/000.avi\ntwo||test/001.avi\ngone|UP|gone.avi\n"
    )
    asked = ("recognize", run, "--videos", VIDEOS, "--list", "new.csv", *CPU)
    refused = twostream(*asked, exit_code=2)
    assert "1 listed videos lack frames: gone" in refused.output
    assert "--allow-missing" in refused.output
    done = twostream(*asked, "--allow-missing")
    assert "of 2 words in 1 sentences" in done.stdout
    assert "1 videos without reference glosses are in no rate" in done.stdout
    assert "1 listed videos lack frames: gone" in done.stderr
    assert f"{run} was not trained on 1 glosses, all errors: HAND" in done.stderr


def test_wrong_use(twostream: Callable[..., Result], run: Path) -> None:
    file = run / "scores/test.safetensors"
    Path("words.csv").write_text("name,glosses,frames\none,HELLO WORLD,test/000.avi\n")
    Path("empty").mkdir()
    (Path("copy") / RUN.name).mkdir(parents=True)
    mistakes = {
        (run,): "--videos FOLDER",
        (file, "--list", "words.csv"): "--list and --scores are for RUNs",
        (run, "--videos", VIDEOS, "--list", "words.csv"): "(HELLO, WORLD)",
        (run, "--videos", "empty"): "empty: no video",
        ("empty", "--videos", VIDEOS): "empty: no trained network",
        (run, Path("copy") / RUN.name, "--videos", VIDEOS, "--scores", "kept"): "--scores",
    }
    for arguments, message in mistakes.items():
        assert message in twostream("recognize", *arguments, *CPU, exit_code=2).output


def test_a_run_of_another_kind(twostream: Callable[..., Result], run: Path) -> None:
    """Weights whose spec lacks what a sequence network needs."""
    from safetensors.torch import save_file

    shutil.rmtree(run / "best")
    (run / "best").mkdir()
    save_file({}, run / "best/weights.safetensors", metadata={"twostream": '{"stream": "motion"}'})
    done = twostream("recognize", run, "--videos", VIDEOS, exit_code=2)
    assert "not the weights of a `twostream train-sequence` run" in done.output
