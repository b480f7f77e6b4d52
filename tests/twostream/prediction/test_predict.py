"""`twostream predict` with networks that were trained on a store of unusual settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn

from fusion.combining.fuse import fuse
from fusion.combining.probabilities import as_probs
from fusion.tables.score_file import read_scores
from twostream.cli import cli
from twostream.data import toy
from twostream.data.training_videos import VIDEOS, RunVideo, card_of, read_videos
from twostream.models.checkpoint import read_training_videos, save_checkpoint
from twostream.prediction.networks import seen_in_training
from twostream.prediction.predict import Prediction, find_inputs, highest, result_lines, result_row
from twostream_base.errors import InputError

from ..conftest import CLASSES, MiniProject

Command = Callable[..., Result]


@dataclass(frozen=True)
class Card:
    training_videos: dict[str, Any]


EXTRACTION = ["--method", "farneback", "--bound", "8", "--short-side", "64", "--codec", "raw"]
TRAINING = ["--weights", "none", "--input-size", "32", "--batch-size", "4", "--device", "cpu",
            "--val-fraction", "0.3", "--protocol", "segments3", "--epochs", "1",
            "--model", "shufflenet_v2_x0_5"]  # fmt: skip
PREDICTION = ["--device", "cpu", "--json", "--protocol", "segments3"]


@pytest.fixture(scope="module")
def runs(mini: MiniProject, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folder of each stream."""
    folder = tmp_path_factory.mktemp("predict")
    store, videos = str(folder / "store"), str(mini.root / "videos")
    lists = ["--dataset", "ucf101", "--annotations", str(mini.root / "annotations")]
    data = [*lists, "--store", store, "--runs", str(folder / "runs")]
    for arguments in (
        ["extract-flow", "--videos", videos, "--store", store, *EXTRACTION],
        ["train", "--stream", "spatial", *data, *TRAINING],
        ["train", "--stream", "motion", *data, *TRAINING],
    ):
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
    return {
        stream: folder / "runs" / "ucf101-split1" / f"{stream}-shufflenet_v2_x0_5"
        for stream in ("spatial", "motion")
    }


@pytest.fixture
def predict(twostream: Command, runs: dict[str, Path]) -> Callable[..., dict[str, Any]]:
    """Run `twostream predict` with both networks; its result."""

    def run(*arguments: object, exit_code: int = 0) -> dict[str, Any]:
        networks = ["--spatial", str(runs["spatial"]), "--motion", str(runs["motion"])]
        texts = map(str, arguments)
        done = twostream("predict", *texts, *networks, *PREDICTION, exit_code=exit_code)
        return json.loads(done.stdout)

    return run


def probabilities(top: list[dict[str, Any]]) -> list[float]:
    by_class = {row["class"]: row["probability"] for row in top}
    return [by_class[name] for name in CLASSES]


def test_it_is_what_scoring_and_fusion_give(
    predict: Callable[..., dict[str, Any]], runs: dict[str, Path], mini: MiniProject
) -> None:
    files = {stream: run / "scores" / "test.safetensors" for stream, run in runs.items()}
    tables = {stream: read_scores(file) for stream, file in files.items()}
    fused = fuse(tables, strategy="geometric").table
    videos = [mini.root / "videos" / f"{name}.avi" for name in fused.names]
    result = predict(*videos, "--strategy", "geometric")
    assert [row["video"] for row in result["videos"]] == [str(video) for video in videos]
    expected = as_probs(fused.scores[:, 0, 0].astype(np.float64), fused.score_type)
    found = [probabilities(row["top"]) for row in result["videos"]]
    assert np.allclose(found, expected, atol=1e-5)
    for row in result["videos"]:
        assert list(row["streams"]) == ["spatial", "motion"]
        assert list(row["seconds"]) == ["decode", "flow", "networks", "total"]
        assert min(row["seconds"].values()) > 0
        assert (row["frames"], row["damaged"], row["warnings"]) == (24, None, [])


def test_a_cascade_computes_flow_where_it_must(
    predict: Callable[..., dict[str, Any]], mini: MiniProject
) -> None:
    video = mini.root / "videos" / CLASSES[0] / f"v_{CLASSES[0]}_g01_c01.avi"
    (whole,) = predict(video)["videos"]
    (sure,) = predict(video, "--cascade", "0")["videos"]
    assert list(sure["streams"]) == ["spatial"]
    assert sure["seconds"]["flow"] == 0
    assert np.allclose(probabilities(sure["top"]), probabilities(whole["streams"]["spatial"]))
    (unsure,) = predict(video, "--cascade", "1")["videos"]
    assert unsure["seconds"]["flow"] > 0
    assert np.allclose(probabilities(unsure["top"]), probabilities(whole["top"]))
    first, second = sorted(probabilities(sure["top"]))
    assert sure["lead"] == unsure["lead"] == pytest.approx(second - first)


def test_bad_videos_are_named_and_the_rest_is_done(
    predict: Callable[..., dict[str, Any]], runs: dict[str, Path], mini: MiniProject, tmp_path: Path
) -> None:
    good = mini.root / "videos" / CLASSES[0] / f"v_{CLASSES[0]}_g02_c01.avi"
    (tmp_path / "empty.avi").touch()
    clip = toy.make_clip(CLASSES[0], rng=np.random.default_rng(0))
    toy.write_video(tmp_path / "short.avi", clip[:1])
    known = next(v for v in read_videos(runs["motion"] / VIDEOS) if v.part == "train")
    shutil.copy(mini.root / "videos" / f"{known.name}.avi", tmp_path / "under another name.avi")
    result = predict("short.avi", "empty.avi", good, "under another name.avi", exit_code=1)
    assert [row["video"] for row in result["videos"]] == [str(good), "under another name.avi"]
    assert "seen_in_training" not in result["videos"][0]
    assert result["videos"][1]["seen_in_training"] == ["spatial", "motion"]
    assert "the motion network was trained on this video" in result["videos"][1]["warnings"]
    assert result["failed"] == {
        "short.avi": "has 1 frame, so no flow",
        "empty.avi": "the file is empty (0 bytes)",
    }


def test_table_and_drawings(twostream: Command, runs: dict[str, Path], mini: MiniProject) -> None:
    video = str(mini.root / "videos" / CLASSES[1] / f"v_{CLASSES[1]}_g01_c01.avi")
    spatial, motion = (["--" + stream, str(run)] for stream, run in runs.items())
    options = ["--protocol", "segments:1", "--device", "cpu"]
    both = twostream("predict", video, *spatial, *motion, *options, "--out", "{name}.gif")
    first, last = both.output.splitlines()
    assert first.startswith(f"{video}   ")
    assert last.startswith("1 predicted, segments:1; mean seconds: decode ")
    with Image.open(f"v_{CLASSES[1]}_g01_c01.gif") as film:
        assert (film.n_frames, film.width) == (12, 3 * 12 + 2 * 240)
    alone = twostream("predict", video, *spatial, *options, "--out", "rgb.png", "--strategy", "max")
    assert f"warning: {video}: there is only one input: max had no streams to fuse" in alone.output
    with Image.open("rgb.png") as picture:
        assert (picture.width, picture.height) == (480, 12 + 24 + 240 + 12 + 24 + 2 * 36 + 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no network is given: name run folders by --spatial, --motion, or both"),
        (["--motion", "{spatial}"], "is a spatial network; give it as --spatial"),
        (["--spatial", "{spatial}", "--cascade", "0.5"], "--cascade needs two streams"),
        (["--spatial", "{spatial}", "--out", "x.txt"], "drawn to .png, .gif, .mp4 files"),
        (["--spatial", "{spatial}", "--out", "x.gif"], "16 videos need a file each"),
    ],
)
def test_wrong_use(
    twostream: Command, runs: dict[str, Path], mini: MiniProject, arguments: list[str], message: str
) -> None:
    texts = [text.replace("{spatial}", str(runs["spatial"])) for text in arguments]
    done = twostream("predict", str(mini.root / "videos"), *texts, "--device", "cpu", exit_code=2)
    assert message in done.output


NAMES = ("Archery", "Bowling", "Diving")
SECONDS = {"decode": 0.12344, "flow": 1.0, "networks": 0.5, "total": 1.25}


def prediction(**changes: Any) -> Prediction:
    values: dict[str, Any] = {
        "class_names": NAMES,
        "fused": np.array([0.125, 0.625, 0.25]),
        "streams": {"spatial": np.array([0.5, 0.25, 0.25]), "motion": np.array([0.0, 1.0, 0.0])},
        "lead": 0.25,
        "entry": Path("unread"),
        "header": {"counts": {"frames": 24, "flows": 23}, "status": "ok", "reason": ""},
        "seconds": SECONDS,
        "warnings": [],
    }
    return Prediction(**{**values, **changes})


def test_the_highest_come_first_and_ties_keep_the_order_of_the_classes() -> None:
    assert highest(np.array([0.25, 0.5, 0.25]), NAMES, top=2) == [
        {"class": "Bowling", "probability": 0.5},
        {"class": "Archery", "probability": 0.25},
    ]
    assert [row["class"] for row in highest(np.zeros(3), NAMES, top=9)] == list(NAMES)


def test_weights_alone_know_videos_by_the_ends_of_their_paths(tmp_path: Path) -> None:
    videos = [RunVideo("A/a1", "A", "", "train", "5eed"), RunVideo("A/a2", "A", "", "val", "f00d")]
    card = card_of(videos, dataset="ucf101", split=1, selected_on="val", initial=[])
    save_checkpoint(tmp_path / "copy", nn.Linear(1, 1), Card(card), {})
    asked = {"/data/A/a1.avi": "", "x/A/a1.avi": "", "A/a2.mp4": "", "a1.avi": "5eed"}
    assert seen_in_training(*read_training_videos(tmp_path / "copy"), asked) == {
        "/data/A/a1.avi": "was trained on this video",
        "x/A/a1.avi": "was trained on this video",
        "A/a2.mp4": "chose its epoch by this video",
    }


def test_a_row() -> None:
    assert result_row("a/v.avi", prediction(), top=1) == {
        "video": "a/v.avi",
        "frames": 24,
        "damaged": None,
        "top": [{"class": "Bowling", "probability": 0.625}],
        "streams": {
            "spatial": [{"class": "Archery", "probability": 0.5}],
            "motion": [{"class": "Bowling", "probability": 1.0}],
        },
        "lead": 0.25,
        "seconds": {"decode": 0.1234, "flow": 1.0, "networks": 0.5, "total": 1.25},
        "warnings": [],
    }


def result(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {"videos": rows, "failed": {}, "protocol": "clips19", "cascade": None, **changes}


def test_lines_for_people() -> None:
    header = {"counts": {"frames": 9}, "status": "damaged", "reason": "9 of 24 frames"}
    alone = {"spatial": np.array([0.5, 0.25, 0.25])}
    rows = [
        result_row("a.avi", prediction(), top=2),
        result_row(
            "longer.avi",
            prediction(
                header=header,
                streams=alone,
                seconds={**SECONDS, "flow": 0.0},
                warnings=["one input alone"],
            ),
            top=2,
        ),
    ]
    lines = result_lines(result(rows, failed={"b.avi": "the file is empty"}, cascade=0.2))
    assert lines == [
        "a.avi        Bowling 62.5%   Diving 25.0%",
        "longer.avi   Bowling 62.5%   Diving 25.0%",
        "warning: longer.avi: 9 of 24 frames",
        "warning: longer.avi: one input alone",
        "b.avi: the file is empty",
        "2 predicted, clips19; mean seconds: decode 0.12, flow 0.50, networks 0.50, total 1.25",
        "all streams were asked about 1 of 2 videos",
    ]


def test_nothing_could_be_predicted() -> None:
    assert result_lines(result([], failed={"b.avi": "the file is empty"})) == [
        "b.avi: the file is empty"
    ]


def test_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.avi", "b/c/1.mp4", "a.avi", "b/notes.txt", "b/x.avi", "b/x.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    videos, unusable = find_inputs(["b", "a.avi"], work_dir=tmp_path / "work")
    assert videos == {
        "b/2.avi": Path("b/2.avi"),
        "b/c/1.mp4": Path("b/c/1.mp4"),
        "a.avi": Path("a.avi"),
    }
    assert list(unusable) == ["b/x"]
    assert "would share one name" in unusable["b/x"]


def test_folders_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by itself is a video, one below the folder too; what is no video is named."""
    monkeypatch.chdir(tmp_path)
    for name in ("f/1/00001.jpg", "f/1/00002.jpg", "f/2.5s/img_7.PNG", "f/3/a1.jpg", "f/3/b1.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert find_inputs(["f/1"], work_dir=tmp_path / "work") == ({"f/1": Path("f/1")}, {})
    videos, unusable = find_inputs(["f"], work_dir=tmp_path / "work")
    assert videos == {"f/1": Path("f/1"), "f/2.5s": Path("f/2.5s")}
    assert list(unusable) == ["f/3"]
    assert unusable["f/3"].startswith("pictures of 2 kinds, a* (1), b* (1);")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="x.avi: no such file or folder"):
        find_inputs(["x.avi"], work_dir=tmp_path)
    with pytest.raises(InputError, match="no videos in this folder"):
        find_inputs([str(tmp_path)], work_dir=tmp_path)
    with pytest.raises(InputError, match="https://site/x.mp4: an address.*download it"):
        find_inputs(["https://site/x.mp4"], work_dir=tmp_path)
