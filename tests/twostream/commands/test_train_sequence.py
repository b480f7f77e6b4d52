"""The real command on a few generated sequences: it learns, stops, goes on, and is recognised."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
from click.testing import Result

from flow_extract import Job, extract_video, extraction_settings
from twostream.data.training_videos import read_videos
from twostream.sequence import toy
from twostream.sequence.transcripts import read_transcripts

SMALL = (
    "--recipe", "toy", "--backbone", "plain width=2", "--temporal", "conv widths=8,8,8",
    "--batch-size", "4", "--device", "cpu", "--precision", "fp32", "--threads", "1", "--quiet",
)  # fmt: skip
RUN = Path("runs/toy-sequences/spatial-toy")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "COUNTS", {"train": 5, "val": 1, "test": 2})


def weights(run: Path, kind: str = "last") -> bytes:
    return (run / kind / "weights.safetensors").read_bytes()


@pytest.mark.usefixtures("few")
def test_a_resumed_run_is_that_of_one_go(twostream: Callable[..., Result]) -> None:
    dropping = ("--temporal", "dynamic_framing k=3 keep=sampled", "--temporal", "tcn width=8")
    options = (
        *SMALL,
        *dropping,
        "--ema",
        "0.9",
        "--average",
        "last:2",
        "--stage-lr",
        "backbone=1e-4",
    )
    twostream("train-sequence", *options, "--epochs", "2")
    whole, scores = weights(RUN), (RUN / "scores/test.safetensors").read_bytes()
    shutil.rmtree(RUN)
    twostream("train-sequence", *options, "--epochs", "1")
    done = twostream("train-sequence", *options, "--epochs", "2")
    assert "resumed after 1 of 2 epochs" in done.output
    assert weights(RUN) == whole
    assert (RUN / "scores/test.safetensors").read_bytes() == scores
    assert "nothing to do" in twostream("train-sequence", *options, "--epochs", "2").output
    repeated = twostream("train-sequence", "--config", RUN / "config.toml", "--quiet")
    assert "nothing to do" in repeated.output
    rows = list(csv.DictReader((RUN / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert weights(RUN, "average") != whole
    done = twostream("train-sequence", *options, "--lr", "0.1", exit_code=2)
    assert "lr was 0.001, now 0.1" in done.output


@pytest.mark.usefixtures("few")
def test_streams_are_recognised_together(twostream: Callable[..., Result]) -> None:
    for stream in ("spatial", "motion"):
        twostream("train-sequence", *SMALL, "--epochs", "1", "--stream", stream)
    files = [f"runs/toy-sequences/{s}-toy/scores/test.safetensors" for s in ("spatial", "motion")]
    done = twostream(
        "recognize", *files, "--strategy", "weighted", "--weights", "spatial=2,motion=1",
        "--beam", "4", "--n-best", "3", "--language", "toy-sequences/train.csv",
        "--out", "found.csv", "--json",
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert [row["stream"] for row in result["inputs"]] == ["spatial", "motion"]
    assert result["recognised"]["sentences"] == 2
    for name, glosses in read_transcripts(Path("found.csv")).items():
        best = result["hypotheses"][name]
        assert best[0]["glosses"] == glosses
        assert [one["score"] for one in best] == sorted((o["score"] for o in best), reverse=True)
    again = twostream(
        "wer", "--reference", "toy-sequences/test.csv", "--hypothesis", "found.csv", "--json"
    )
    assert json.loads(again.output)["errors"] == result["recognised"]["errors"]
    assert "fused (mean):" in twostream("recognize", *files, "--beam", "0").output
    done = twostream("recognize", *files, "--beam", "0", "--bonus", "1", exit_code=2)
    assert "--beam 0 decodes greedily" in done.output
    done = twostream("recognize", files[0], files[0], exit_code=2)
    assert "given twice" in done.output
    done = twostream("recognize", files[0], "--out", "found.doc", exit_code=2)
    assert ".csv or .ctm" in done.output


@pytest.fixture
def store(few: None) -> Path:
    """The toy sequences, and a store of their frames and flow, without loss."""
    videos = Path("toy-sequences/videos")
    toy.generate_sequences(videos.parent, videos)
    for path in sorted(videos.rglob("*.avi")):
        name = path.relative_to(videos).as_posix()
        settings = extraction_settings(codec="raw")
        extract_video(Job(name.removesuffix(".avi"), path, name, Path("store"), settings))
    return Path("store")


def test_both_streams_in_one_network(twostream: Callable[..., Result], store: Path) -> None:
    """From two runs, by flow of a store or not; stopped and resumed to the same bits."""
    twostream("train-sequence", *SMALL, "--epochs", "1")
    motion = ("--stream", "motion", "--epochs", "1")
    twostream("train-sequence", *SMALL, *motion)
    twostream("train-sequence", *SMALL, *motion, "--store", store, "--name", "stored")
    runs = [RUN.with_name(name) for name in ("spatial-toy", "motion-toy", "motion-stored")]
    one, other = (safetensors.torch.load_file(run / "best/weights.safetensors") for run in runs[1:])
    assert all(tensor.equal(other[name]) for name, tensor in one.items()), "the same flow"

    options = (*SMALL, "--stream", "joint", "--store", store, "--auxiliary-loss", "0.3")
    started = (*options, "--from", runs[0], runs[2])
    joint = RUN.with_name("joint-toy")
    twostream("train-sequence", *started, "--epochs", "2")
    whole, scores = weights(joint), (joint / "scores/test.safetensors").read_bytes()
    shutil.rmtree(joint)
    twostream("train-sequence", *started, "--epochs", "1")
    done = twostream("train-sequence", *started, "--epochs", "2")
    assert "resumed after 1 of 2 epochs" in done.output
    assert weights(joint) == whole
    assert (joint / "scores/test.safetensors").read_bytes() == scores
    # A project's store is of the project's videos, not of those that are typed or of a recipe.
    Path("twostream.toml").write_text('store = "of-others"\n')
    repeated = twostream("train-sequence", "--config", joint / "config.toml")
    assert "twostream.toml" not in repeated.output
    assert "nothing to do" in repeated.output
    for run in runs[:1] + runs[2:]:
        run.rename(run.with_name(f"{run.name}-away"))
    assert "nothing to do" in twostream("train-sequence", *started, "--epochs", "2").output
    for run in runs[:1] + runs[2:]:
        run.with_name(f"{run.name}-away").rename(run)
    learnt = [row.part for row in read_videos(joint / "videos.csv.gz")]
    assert learnt.count("initial") == 5, "the training videos of both runs, once"

    asked = ("recognize", joint, "--videos", "toy-sequences/videos", "--device", "cpu", "--list")
    asked = (*asked, "toy-sequences/test.csv", "--json")
    assert "nothing to do" in twostream("train-sequence", *SMALL, "--epochs", "1").output
    found = json.loads(twostream(*asked, "--store", store).stdout)
    known = json.loads(twostream("recognize", joint / "scores/test.safetensors", "--json").stdout)
    assert found["recognised"] == known["recognised"]
    refused = twostream(*asked, exit_code=2).output
    assert f"{joint} was trained on frames and flow of a store" in refused
    assert "--store" in refused

    mistakes = {
        ("--from", runs[2], runs[0]): "is a motion network",
        ("--from", runs[0], runs[2], "--vocabulary", "more.txt"): "on 6 glosses, these are 7",
        ("--from", runs[0], runs[1]): f"{runs[1]} was trained on frames and flow of the videos",
        (
            "--from",
            runs[0],
            runs[2],
            "--temporal",
            "tcn width=8",
            "--freeze",
            "nowhere",
        ): f"{runs[2]}: only its backbone is taken over",
        ("--from", "gone", runs[2]): "gone: no trained network",
        ("--fuse", "attention"): "'attention'",
    }
    glosses = "\n".join([*toy.GESTURES, "MORE"])
    Path("more.txt").write_text(glosses)
    for words, message in mistakes.items():
        done = twostream("train-sequence", *options, *words, "--name", "x", exit_code=2)
        assert message in done.output
    done = twostream("train-sequence", *SMALL, "--fuse", "max", exit_code=2)
    assert "--fuse is for --stream joint" in done.output
    assert not RUN.with_name("joint-x").exists()


@pytest.mark.usefixtures("few")
def test_short_videos_are_named(twostream: Callable[..., Result]) -> None:
    """Three halvings leave too few time steps for some sentences: they are told, and no NaN."""
    temporal = ("--temporal", "conv widths=8,8,8 pools=3", "--temporal", "random_sampling")
    done = twostream("train-sequence", *SMALL, *temporal, "--epochs", "1", "--json")
    assert "fewer time steps than their glosses need and were skipped: train/" in done.stderr
    assert "1 validation videos have fewer time steps" in done.stderr
    assert "errors: val/000" in done.stderr
    (row,) = json.loads(done.stdout)["epochs"]
    assert row["short"] + row["sequences"] == 5
    assert row["short"] > 0


@pytest.mark.usefixtures("few")
def test_a_frozen_backbone_from_another_run(twostream: Callable[..., Result]) -> None:
    twostream("train-sequence", *SMALL, "--epochs", "1")
    frozen = ("--load", str(RUN), "--freeze", "backbone", "--name", "frozen", "--seed", "1")
    twostream("train-sequence", *SMALL, *frozen, "--epochs", "1")
    one, two = (
        safetensors.torch.load_file(run / "best/weights.safetensors")
        for run in (RUN, RUN.with_name("spatial-frozen"))
    )
    for name, tensor in one.items():
        if "num_batches" not in name:
            assert tensor.equal(two[name]) == name.startswith("backbone"), name


def test_wrong_use(twostream: Callable[..., Result]) -> None:
    done = twostream("train-sequence", *SMALL, "--input-size", "64", exit_code=2)
    assert "--input-size is a crop of --frame-size" in done.output
    done = twostream("train-sequence", *SMALL, "--average", "best", exit_code=2)
    assert "expected last:N or best:N" in done.output
    done = twostream("train-sequence", *SMALL, "--load-stages", "backbone", exit_code=2)
    assert "--load-stages" in done.output
    Path("own.toml").write_text("learning-rate = 1\n")
    done = twostream("train-sequence", *SMALL, "--config", "own.toml", exit_code=2)
    assert "own.toml: `train-sequence` has no option 'learning-rate'" in done.output
    Path("own.toml").write_text("[motion]\naverage = 'worst:2'\n")
    done = twostream(
        "train-sequence", *SMALL, "--stream", "motion", "--config", "own.toml", exit_code=2
    )
    assert "expected last:N or best:N" in done.output
