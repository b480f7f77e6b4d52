"""`twostream features`: arrays as two readers of the field take them."""

from __future__ import annotations

import errno
import json
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from flow_extract.display.show import write_png
from flow_extract.extraction import executor
from flow_extract.extraction.executor import Outcome
from flow_extract.extraction.settings import extraction_settings
from flow_extract.store.locks import locked
from flow_extract.video.decode import read_frames
from twostream.cli import cli
from twostream.models.checkpoint import (
    NetworkSpec,
    load_network,
    network_from_spec,
    save_checkpoint,
)
from twostream.prediction import features
from twostream.prediction.features import snippet_frames
from twostream.transforms.presets import modality_of

Command = Callable[..., Result]
FRAMES = 40


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Networks of both streams that nobody has trained, as options."""
    folder = tmp_path_factory.mktemp("features")
    options = []
    for stream, length in (("spatial", 1), ("motion", 10)):
        spec = NetworkSpec(
            model="shufflenet_v2_x0_5", model_options={}, stream=stream, clip_length=length,
            frame_interval=1, resize=(), class_names=("a", "b"), num_segments=3, consensus="mean",
            consensus_options={}, input_size=32, epoch=0, selected_on="val", flow={},
        )  # fmt: skip
        save_checkpoint(folder / stream / "best", network_from_spec(spec), spec, {})
        options += ["--run", str(folder / stream)]
    return [*options, "--device", "cpu", "--threads", "1", "--precision", "fp32"]


@pytest.fixture
def films(make_video: Callable[..., Path], tmp_path: Path) -> Path:
    for name in ("a", "sub/b"):
        make_video(tmp_path / "films" / f"{name}.avi", frames=FRAMES)
    return tmp_path / "films"


def test_one_array_a_video_and_stream(twostream: Command, runs: list[str], films: Path) -> None:
    twostream("features", films, *runs, "--out", "out")
    # A snippet of 10 flow pairs shows 11 frames: 4 windows of 11 begin every 8 of 40 frames.
    paths = {stream: Path("out", stream) for stream in ("spatial", "motion")}
    arrays = {key: np.load(path / "sub/b.npy") for key, path in paths.items()}
    for stream, array in arrays.items():
        assert (array.dtype, array.shape) == (np.float32, (4, 1024))
        assert (paths[stream] / "a.npy").exists()
    card = json.loads((paths["motion"] / "sub/b.json").read_text())
    assert {key: card[key] for key in ("fps", "frames", "feat_stride", "num_frames", "shape")} == {
        "fps": 25.0, "frames": 40, "feat_stride": 8, "num_frames": 11, "shape": [4, 1024],
    }  # fmt: skip
    assert [stream["model"] for stream in card["streams"]] == ["shufflenet_v2_x0_5"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["motion", "spatial"]

    joined = json.loads(
        twostream("features", films, *runs, "--out", "j", "--joined", "--json").stdout
    )
    assert [video["shapes"] for video in joined["videos"]] == 2 * [{"joined": [4, 2048]}]
    both = np.concatenate(list(arrays.values()), axis=1)
    np.testing.assert_allclose(np.load("j/sub/b.npy"), both, atol=1e-5)


def test_a_column_for_each_frame(twostream: Command, runs: list[str], films: Path) -> None:
    """By the rules of MS-TCN's loader: (D, frames), of which it takes every n-th column."""
    layout = ["--layout", "ms-tcn", "--stride", "1", "--joined"]
    twostream("features", films / "a.avi", *runs, *layout, "--out", "out")
    loaded = np.load("out/a.npy")
    assert loaded.shape == (2048, FRAMES)
    assert torch.from_numpy(loaded[:, ::2]).shape == (2048, FRAMES // 2)


def test_what_is_done_is_left_and_what_is_broken_named(
    twostream: Command, runs: list[str], films: Path
) -> None:
    arguments = ["features", films, *runs[:2], *runs[4:], "--out", "out", "--json"]
    twostream(*arguments)
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.npy")}
    (films / "broken.avi").touch()
    Path("out/spatial/a.json").unlink()  # as if it had been interrupted
    result = json.loads(twostream(*arguments, exit_code=1).stdout)
    assert result["failed"] == {str(films / "broken.avi"): "the file is empty (0 bytes)"}
    assert [video["done_now"] for video in result["videos"]] == [True, False]
    assert before[Path("out/spatial/sub/b.npy")] == Path("out/spatial/sub/b.npy").stat().st_mtime_ns
    told = json.loads(Path("out/spatial/a.json").read_text())
    Path("out/spatial/a.json").write_text(json.dumps(told)[:50])
    Path("out/spatial/sub/b.json").write_text(json.dumps({**told, "shape": ["x"]}))
    torn = json.loads(twostream(*arguments, exit_code=1).stdout)
    assert torn["videos"] == [{**video, "done_now": True} for video in result["videos"]]
    again = json.loads(twostream(*arguments, "--stride", "4", exit_code=1).stdout)
    assert [video["done_now"] for video in again["videos"]] == [True, True]


def test_a_kill_between_an_array_and_its_card_leaves_nothing_done(
    twostream: Command, runs: list[str], films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["features", films / "a.avi", *runs[:2], *runs[4:], "--out", "out", "--json"]
    twostream(*arguments)
    before = Path("out/spatial/a.npy").read_bytes()
    with monkeypatch.context() as patched:

        def killed(*args: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(features, "write_text", killed)
        CliRunner().invoke(cli, [*map(str, arguments), "--stride", "4"])
    assert Path("out/spatial/a.npy").read_bytes() != before
    assert json.loads(twostream(*arguments).stdout)["videos"][0]["done_now"]
    assert Path("out/spatial/a.npy").read_bytes() == before
    assert [path.name for path in Path("out").iterdir()] == ["spatial"]


def test_processes_share_a_folder(
    twostream: Command, runs: list[str], films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One works on the film a meanwhile, with its files half written, and then lets it go."""
    (films / "copy.avi").write_bytes((films / "a.avi").read_bytes())
    monkeypatch.setattr(features, "BUSY_SECONDS", 0.01)
    arguments = ["features", films, *runs[:2], *runs[4:], "--out", "out", "--json"]
    twostream(*arguments)
    whole = {path.name: path.read_bytes() for path in Path("out").rglob("*.npy")}
    order = []
    with ExitStack() as other:
        for path in Path("out/spatial").rglob("*.json"):
            path.unlink()
        assert other.enter_context(locked(Path("out"), "a"))
        compute = features.FeatureWriter.compute

        def watched(writer: Any, video: features.Video, *args: Any, **options: Any) -> Any:
            found = compute(writer, video, *args, **options)
            order.append(video.path.stem)
            if len(order) == 2:  # nothing is left but the other's film
                other.close()
            return found

        monkeypatch.setattr(features.FeatureWriter, "compute", watched)
        done = twostream(*arguments)
    assert [line for line in done.stderr.splitlines() if "another process" in line] == [
        f"{films / 'a.avi'}: another process works on it; it is looked at again at the end"
    ]
    assert sorted(order[:2]) == ["b", "copy"]
    assert order[2:] == ["a"]
    result = json.loads(done.stdout)
    assert [Path(video["video"]).stem for video in result["videos"]] == ["a", "copy", "b"]
    assert {path.name: path.read_bytes() for path in Path("out").rglob("*.npy")} == whole
    assert [path.name for path in Path("out").iterdir()] == ["spatial"]


def test_a_full_disk_is_no_fault_of_a_video(
    twostream: Command, runs: list[str], films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_jobs(function: Any, jobs: Any, *, claim: Any, **options: Any) -> Any:
        for job in jobs:
            with claim(job) as answer:
                yield job, answer or Outcome("returned", function(job))

    def full(path: Path, *args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(executor, "run_jobs", run_jobs)
    monkeypatch.setattr(features, "_writer", None)
    monkeypatch.setattr(features, "join_arrays", full)
    arguments = ["features", films, *runs, "--jobs", "2", "--out", "out"]
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code != 0
    assert "cannot be stored" in f"{done.output} {done.exception}"
    assert not list(Path("out").glob("*.part")) + list(Path("out").glob(".*.part"))


def test_a_busy_film_starts_no_process(films: Path, tmp_path: Path) -> None:
    film = features.Video("a", "a", films / "a.avi")
    with features.claim(film, out=tmp_path) as answer:
        assert answer is None
        with features.claim(film, out=tmp_path) as other:
            assert other == Outcome("returned", None)
    with features.claim(film, out=tmp_path / "unseen") as answer:
        assert answer is not None
        assert "does not see it" in answer.value.why


def test_many_processes(
    twostream: Command, runs: list[str], films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They write what one does. What goes to each is a pickle; one of them dies here."""

    def run_jobs(function: Any, jobs: Any, *, workers: int, **options: Any) -> Any:
        assert (workers, options["timeout"], options["lasting"]) == (2, 60.0, True)
        for job in jobs:
            monkeypatch.chdir("/")
            apart, copy = pickle.loads(pickle.dumps((function, job)))
            died = copy.name == "dies"
            outcome = Outcome("crashed", reason="signal 9") if died else None
            yield job, outcome or Outcome("returned", apart(copy))
            monkeypatch.chdir(films.parent)

    monkeypatch.setattr(executor, "run_jobs", run_jobs)
    monkeypatch.setattr(features, "_writer", None)
    arguments = ["features", "films", *runs, "--json", "--quiet"]
    twostream(*arguments, "--out", "here")
    (films / "dies.avi").write_bytes((films / "a.avi").read_bytes())
    done = twostream(*arguments, "--out", "out", "--jobs", "2", "--timeout", "60", exit_code=1)
    result = json.loads(done.stdout)
    assert [Path(video["video"]).stem for video in result["videos"]] == ["a", "b"]
    assert result["failed"] == {str(Path("films/dies.avi")): "crashed: signal 9"}
    assert result["videos"][0]["files"]["motion"] == str(Path("out/motion/a.npy"))
    for here in (path for path in Path("here").rglob("*.*") if path.is_file()):
        assert here.read_bytes() == Path("out", here.relative_to("here")).read_bytes()


def test_the_rate_of_frames_without_repeated_ones(
    twostream: Command, runs: list[str], make_video: Callable[..., Path], tmp_path: Path
) -> None:
    """Every frame of a film of 25 frames a second is there twice."""
    film = make_video(tmp_path / "film.avi", frames=40)
    frames = np.stack(list(read_frames(film)))
    for number, frame in enumerate(np.repeat(frames[:20], 2, axis=0)):
        write_png(tmp_path / "twice" / f"{number:03d}.png", Image.fromarray(frame))
    folder = tmp_path / "dropping"
    spec, _ = load_network(Path(runs[1]) / "best")
    settings = extraction_settings("dis", drop_repeated=True) | {"method": None}
    spec = replace(spec, extraction=settings)
    save_checkpoint(folder / "best", network_from_spec(spec), spec, {})
    arguments = ["features", tmp_path / "twice", "--window", "8", "--stride", "4", "--device",
                 "cpu", "--threads", "1"]  # fmt: skip
    twostream(*arguments, "--run", folder, "--run", runs[3], "--window", "11", "--out", "out")
    cards = {key: json.loads(Path(f"out/{key}/twice.json").read_text())
             for key in ("spatial", "motion")}  # fmt: skip
    assert [(card["fps"], card["frames"]) for card in cards.values()] == [(12.5, 20), (25.0, 40)]
    joined = twostream(
        *arguments, "--run", folder, "--run", runs[3], "--window", "11", "--joined", "--out", "j",
        exit_code=2,
    )  # fmt: skip
    assert "--drop-repeated" in joined.output


def test_a_damaged_film_is_told_of_again(twostream: Command, runs: list[str], films: Path) -> None:
    film = films / "a.avi"
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 2 // 3])
    arguments = ["features", film, *runs[:2], *runs[4:], "--out", "out", "--json"]
    first, again = (json.loads(twostream(*arguments).stdout)["videos"][0] for _ in range(2))
    assert (first["done_now"], again["done_now"]) == (True, False)
    assert first["damaged"]
    assert again["damaged"] == first["damaged"]


@pytest.mark.parametrize(
    ("stream", "length", "interval", "stack", "expected"),
    [
        ("spatial", 1, 1, 1, 1),
        ("spatial", 32, 2, 1, 63),
        ("motion", 10, 1, 1, 11),
        ("motion", 40, 2, 5, 20),  # 8 stacks of 5 pairs, 2 apart: pairs 0 to 18
        ("difference", 6, 1, 1, 6),
    ],
)
def test_frames_of_a_snippet(
    stream: str, length: int, interval: int, stack: int, expected: int
) -> None:
    modality = modality_of(stream, clip_length=length, frame_interval=interval, stack=stack)
    assert snippet_frames(modality) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--run"),
        (["--run", "{motion}", "--window", "5"], "has 11 frames"),
        (["--run", "{motion}", "--joined"], "give two"),
        (["--run", "{motion}", "--scheduler", "tcp://x:1"], "--engine dask"),
        (["--run", "{motion}", "--timeout", "5"], "--timeout has no effect"),
        (["--run", "{motion}", "--run", "{motion}"], "two networks of the motion stream"),
    ],
)
def test_wrong_use(
    twostream: Command, runs: list[str], films: Path, arguments: list[str], message: str
) -> None:
    texts = [text.replace("{motion}", runs[3]) for text in arguments]
    done = twostream("features", films, *texts, "--out", "out", "--device", "cpu", exit_code=2)
    assert message in done.output
