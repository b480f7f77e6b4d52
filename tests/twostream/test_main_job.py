"""The main job from end to end on small real videos: lists, flow, both streams, scores, fusion."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from flow_extract.extraction.one_video import Job, extract_video
from flow_extract.extraction.settings import extraction_settings
from flow_extract.video.find_videos import find_videos
from fusion.evaluation.metrics import top_k_correct
from fusion.tables.score_file import read_scores
from twostream.cli import cli
from twostream_base.files import sha256_file
from twostream_base.video_names import ucf101_group

from .conftest import MiniProject

QUICK = ["--weights", "none", "--input-size", "32", "--batch-size", "4", "--val-fraction", "0.3",
         "--protocol", "segments3", "--threads", "2", "--device", "cpu"]  # fmt: skip

Run = Callable[..., Result]


def tree(folder: Path) -> dict[str, str]:
    """Path -> sha256 of all files, but for the times in the logs."""
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*.safetensors"))
    }


def log_without_times(run: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((run / "log.csv").read_text().splitlines()))
    own = ("run_id", "restarts")
    return [
        {k: v for k, v in row.items() if not k.endswith("_time") and k not in own} for row in rows
    ]


def test_from_videos_to_a_fused_result(twostream: Run, mini: MiniProject, tmp_path: Path) -> None:
    videos, annotations = mini.root / "videos", mini.root / "annotations"
    folders = ["--videos", str(videos), "--annotations", str(annotations)]
    init = twostream("init", "--dataset", "ucf101", *folders, "--store", str(mini.root / "store"))
    assert "split 1: 12 train, 4 test; 0 of them missing" in init.output
    project = tomllib.loads(Path("twostream.toml").read_text())
    assert (tmp_path / project["videos"]).resolve() == videos

    again = twostream("extract-flow")
    assert "16 videos: 0 done now, 16 already done" in again.output

    for stream in ("spatial", "motion"):
        train = ["train", "--stream", stream, "--model", "shufflenet_v2_x0_5", "--epochs", "2"]
        result = twostream(*train, *QUICK)
        assert "==> Epoch:[1/2][training stage]\nTime [" in result.output
        assert "nothing to do" in twostream(*train, *QUICK).output

    run = tmp_path / "runs" / "ucf101-split1" / "motion-shufflenet_v2_x0_5"
    rows = log_without_times(run)
    assert [(row["epoch"], row["subset"]) for row in rows] == [
        ("0", "train"), ("0", "val"), ("1", "train"), ("1", "val"),
    ]  # fmt: skip
    assert tomllib.loads((run / "config.toml").read_text())["lr"] == 0.01

    fused = json.loads(twostream("fuse", "--strategy", "variance", "--json", "--out", "f").stdout)
    assert fused["videos"] == 4
    assert [row["stream"] for row in fused["inputs"]] == ["spatial", "motion"]
    assert fused["fused"]["top1"]["of"] == 4
    assert read_scores(Path("f")).score_type == "probs"

    table = read_scores(run / "scores" / "test.safetensors")
    assert table.scores.shape == (4, 3, 1, 2)
    assert table.groups == tuple(ucf101_group(name) for name in table.names)
    assert read_scores(Path("f")).groups == table.groups
    assert table.metadata["protocol"] == "segments3"
    assert table.metadata["selected_on"] == "val"
    assert table.metadata["flow"]["method"]["name"] == "dis"
    assert table.metadata["checkpoint"] == sha256_file(run / "best" / "weights.safetensors")
    pooled = table.scores.mean(axis=(1, 2))
    motion = next(row for row in fused["inputs"] if row["stream"] == "motion")
    assert motion["top1"]["correct"] == top_k_correct(pooled, table.labels, 1)

    shown = twostream("scores", "show", str(run / "scores" / "test.safetensors"))
    assert "segments3" in shown.output


def test_frames_alone_serve_the_spatial_stream(twostream: Run, mini: MiniProject) -> None:
    """Training and its scores; asked for flow, they say what to do."""
    settings, store = extraction_settings(None), Path("frames").absolute()
    for name, video in find_videos(mini.root / "videos", store=store).videos.items():
        extract_video(Job(name, video, f"{name}.avi", store, settings))
    data = ["--dataset", "ucf101", "--annotations", str(mini.root / "annotations")]
    data += ["--store", "frames", "--runs", "runs"]
    quick = [*QUICK, "--epochs", "1", "--model", "shufflenet_v2_x0_5"]
    twostream("train", *data, "--stream", "spatial", *quick)
    run = Path("runs/ucf101-split1/spatial-shufflenet_v2_x0_5")
    assert read_scores(run / "scores" / "test.safetensors").scores.shape == (4, 3, 1, 2)
    asked = twostream("train", *data, "--stream", "motion", *quick, exit_code=2)
    assert "frames: 12 of 12 listed videos are stored as frames alone" in asked.output
    assert "`twostream extract-flow --method dis`" in asked.output


def test_a_project_that_was_moved_goes_on(
    twostream: Run, mini: MiniProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options that are paths inside it, absolute ones too, go with it; no file has its old place.

    Or else each command would find nothing, begin anew, or work in the old place, were it there.
    """
    old, new = tmp_path / "old place" / "project", tmp_path / "elsewhere"
    shutil.copytree(mini.root, old)
    monkeypatch.chdir(old)
    twostream("init", "--dataset", "ucf101", "--videos", str(old / "videos"),
              "--annotations", "annotations")  # fmt: skip
    train = ["train", "--model", "shufflenet_v2_x0_5", *QUICK, "--stream"]
    twostream(*train, "spatial", "--epochs", "1", "--store", str(old / "store"))
    monkeypatch.chdir(tmp_path)
    old.rename(new)
    monkeypatch.chdir(new)
    assert "0 done now, 16 already done" in twostream("extract-flow").output
    run = Path("runs", "ucf101-split1", "spatial-shufflenet_v2_x0_5")
    assert "resumed after 1 of 2 epochs" in twostream(*train, "spatial", "--epochs", "2").output
    twostream("score", str(run), "--subset", "val", "--protocol", "segments3", "--device", "cpu")
    assert "nothing to do" in twostream("train", "--config", str(run / "config.toml")).output
    twostream(*train, "motion", "--epochs", "1")
    twostream("fuse", "--out", "fused.safetensors")
    twostream("report")
    place = str(old.parent).encode()
    assert [path for path in new.rglob("*") if path.is_file() and place in path.read_bytes()] == []


@pytest.fixture(scope="module")
def trained(mini: MiniProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spatial run of one epoch in `runs/`, trained once for all tests."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        done = CliRunner().invoke(cli, spatial_run(mini))
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """The folder of that run's `runs/`, copied into the test's own folder."""
    return shutil.copytree(trained / "runs", tmp_path / "runs")


def spatial_run(mini: MiniProject, *more: str) -> list[str]:
    options = ["--stream", "spatial", *mini.arguments, "--runs", "runs", "--epochs", "1"]
    return ["train", "--model", "shufflenet_v2_x0_5", *options, *QUICK, *more]


def test_score_again_gives_the_same_scores(twostream: Run, mini: MiniProject, runs: Path) -> None:
    run = runs / "ucf101-split1" / "spatial-shufflenet_v2_x0_5"
    twostream("score", str(run), *mini.arguments, "--protocol", "segments3", "--device", "cpu",
              "--out", "again.safetensors")  # fmt: skip
    first = read_scores(run / "scores" / "test.safetensors")
    again = read_scores(Path("again.safetensors"))
    assert again.names == first.names
    assert np.allclose(again.scores, first.scores, atol=1e-5)
    on_training = ["--subset", "train", "--on-training-videos", "--json"]
    clips = twostream("score", str(run), *mini.arguments, *on_training)
    result = json.loads(clips.stdout)
    assert result.pop("accuracy")["top1"]["of"] == 12
    seen = result.pop("seen_in_training")
    assert seen["trained"] + seen["selecting"] == seen["of"] == 12
    assert result | {"file": ""} == {
        "file": "", "videos": 12, "snippets": 19, "crops": 1, "classes": 2,
    }  # fmt: skip


def test_a_loss_that_is_not_finite_stops_with_the_checkpoint_kept(
    twostream: Run, mini: MiniProject, tmp_path: Path
) -> None:
    options = ["--stream", "motion", *mini.arguments, "--runs", "runs", *QUICK]
    result = twostream("train", *options, "--epochs", "5", "--lr", "1e12", exit_code=1)
    assert "is nan, at learning rate 1e+12" in result.output
    assert "Try a lower --lr" in result.output


def test_another_option_needs_another_run(twostream: Run, mini: MiniProject, runs: Path) -> None:
    louder = spatial_run(mini, "--lr", "0.1")
    result = twostream(*louder, exit_code=2)
    assert "(lr was 0.0005, now 0.1)" in result.output
    twostream(*louder, "--name", "louder")
    removed = twostream(*louder, "--restart").output
    assert "--restart removes " in removed
    assert "best/, config.toml, last/, log.csv of 1 epoch, scores/ with 2, videos.csv.gz" in removed
    motion = spatial_run(mini)
    motion[motion.index("spatial")] = "motion"
    twostream(*motion)
    two = twostream("fuse", "--dataset", "ucf101", "--runs", "runs", exit_code=2)
    assert "2 spatial runs" in two.output
    assert "spatial-shufflenet_v2_x0_5-louder" in two.output
    assert "--name ''|louder" in two.output


def test_a_run_is_repeated_from_its_config(twostream: Run, mini: MiniProject, runs: Path) -> None:
    first = runs / "ucf101-split1" / "spatial-shufflenet_v2_x0_5"
    twostream("train", "--config", str(first / "config.toml"), "--runs", "b")
    assert tree(Path("b/ucf101-split1/spatial-shufflenet_v2_x0_5")) == tree(first)


def test_wrong_input_is_one_line(twostream: Run, mini: MiniProject, tmp_path: Path) -> None:
    """Message and exit code of the commonest mistakes."""
    data = mini.arguments
    train = ["train", "--stream", "motion", "--runs", "runs", *QUICK, "--epochs", "1"]
    mistakes = {
        ("extract-flow",): "--videos is missing, and no twostream.toml",
        ("fuse",): "no scores of the spatial stream: runs",
        ("extract-flow", "--videos", "nowhere", "--store", "s"): "nowhere",
        (*train, *data, "--split", "4"): "Error: no split 4; allowed: 1, 2, 3",
        (*train, *data, "--device", "cuda:7"): "Error: --device cuda:7 cannot be used",
        (*train, *data, "--weights", "nowhere.pth"): "nowhere.pth: no such file",
    }
    for arguments, message in mistakes.items():
        result = twostream(*arguments, exit_code=2)
        assert message in result.output
        assert "Traceback" not in result.output

    (tmp_path / "empty").mkdir()
    data[-1] = str(tmp_path / "empty")
    assert (
        "none of the 12 listed videos can be used" in twostream(*train, *data, exit_code=2).output
    )


def test_weights_for_other_classes(
    twostream: Run, mini: MiniProject, tmp_path: Path, runs: Path
) -> None:
    other = tmp_path / "annotations"
    other.mkdir()
    for path in (mini.root / "annotations").iterdir():
        text = path.read_text()
        (other / path.name).write_text(text + "3 Archery\n" * (path.name == "classInd.txt"))
    arguments = [*mini.arguments[:3], str(other), *mini.arguments[4:]]
    result = twostream(
        "score", str(runs / "ucf101-split1" / "spatial-shufflenet_v2_x0_5"), *arguments, exit_code=2
    )
    assert "was trained on 2 classes, ucf101 split 1 has 3; they differ in Archery" in result.output


def test_missing_videos_are_counted(twostream: Run, mini: MiniProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    kept = sorted((mini.root / "store").rglob("*.safetensors"))[1:]
    for path in kept:
        target = store / path.relative_to(mini.root / "store")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    options = ["--stream", "motion", *mini.arguments[:-1], str(store), "--runs", "runs",
               "--epochs", "1", "--model", "shufflenet_v2_x0_5", *QUICK]  # fmt: skip
    result = twostream("train", *options, exit_code=2)
    assert (
        "1 of 4 listed videos cannot be used: BlueVertical/v_BlueVertical_g01_c01" in result.output
    )
    twostream("train", *options, "--allow-missing")
    table = read_scores(
        Path("runs/ucf101-split1/motion-shufflenet_v2_x0_5/scores/test.safetensors")
    )
    assert (table.metadata["listed"], table.metadata["missing"], len(table.names)) == (4, 1, 3)


@pytest.mark.parametrize("stream", ["spatial", "motion"])
def test_a_network_of_ones_own(
    twostream: Run, mini: MiniProject, tmp_path: Path, stream: str
) -> None:
    (tmp_path / "own_network_of_a_test.py").write_text(
        "from torch import nn\n"
        "from twostream.models.segment_network import SegmentNetwork\n"
        "def tiny(*, modality, num_classes, weights):\n"
        "    channels = modality.channels * modality.snippet_length\n"
        "    pool = nn.AdaptiveAvgPool2d(4)\n"
        "    backbone = nn.Sequential(pool, nn.Flatten())\n"
        "    classifier = nn.Linear(16 * channels, num_classes)\n"
        "    return SegmentNetwork(backbone, classifier, modality)\n"
    )
    twostream("train", "--model", "own_network_of_a_test:tiny", "--stream", stream,
              *mini.arguments, "--runs", "runs", "--epochs", "1", *QUICK)  # fmt: skip
    run = Path(f"runs/ucf101-split1/{stream}-own_network_of_a_test.tiny")
    assert read_scores(run / "scores" / "test.safetensors").scores.shape == (4, 3, 1, 2)
    score = ("score", str(run), *mini.arguments, "--protocol", "segments:1")
    refused = twostream(*score, exit_code=2).output
    assert f"{run}/best: the plug-in 'own_network_of_a_test:tiny' would run code" in refused
    scored = twostream(*score, "--trust-plugins")
    assert "4 videos, 1 snippets, 1 crops, 2 classes" in scored.output
