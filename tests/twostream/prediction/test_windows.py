"""One pass over a long video: the windows' logits are those of separate predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from flow_extract.display.show import write_png
from flow_extract.extraction.one_video import MAX_CHUNK
from flow_extract.extraction.settings import extraction_settings
from flow_extract.video.decode import read_frames
from fusion.tables.windows import Span, window_grid
from twostream.compute.device import Runtime
from twostream.data.dataset import write_snippets
from twostream.data.protocols import find_protocol
from twostream.models.checkpoint import NetworkSpec, network_from_spec
from twostream.prediction.networks import Stream
from twostream.prediction.windows import Window, WindowPass, window_protocol
from twostream.transforms.presets import MODALITIES, modality_of

FRAMES, WINDOW, STRIDE = 75, 24, 6
RUNTIME = Runtime(torch.device("cpu"), "fp32", threads=2, views_per_forward=7)
RGB, FLOW = MODALITIES["spatial"], replace(MODALITIES["motion"], snippet_length=4)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    threads = cv2.getNumThreads()
    yield
    cv2.setNumThreads(threads)


def make_stream(
    stream: str,
    model: str = "shufflenet_v2_x0_5",
    *,
    protocol: str,
    length: int,
    interval: int = 1,
    **spec: Any,
) -> Stream:
    values: dict[str, Any] = {
        "model": model, "model_options": {}, "stream": stream, "clip_length": length,
        "frame_interval": interval, "resize": (), "class_names": ("a", "b", "c"),
        "num_segments": 3, "consensus": "mean", "consensus_options": {}, "input_size": 32,
        "epoch": 0, "selected_on": "val", "flow": {},
    }  # fmt: skip
    described = NetworkSpec(**values | spec)
    torch.manual_seed(0)
    network = network_from_spec(described)
    settings = extraction_settings("dis", {}, bound=20.0, short_side=40)
    return Stream(described, network.eval(), settings, find_protocol(protocol))


KINDS: dict[str, dict[str, Any]] = {
    "pictures": {"stream": "spatial", "length": 1, "protocol": "segments:4"},
    "flow": {"stream": "motion", "length": 4, "protocol": "segments:3x5"},
    "learned": {"stream": "spatial", "length": 1, "protocol": "segments:3",
                "consensus": "attention"},
    "i3d": {"stream": "motion", "model": "i3d-resnet18", "length": 8, "interval": 2,
            "protocol": "dense:2"},
    "tsm": {"stream": "spatial", "model": "tsm-resnet18", "length": 4, "interval": 0,
            "protocol": "segments:1"},
    "joint": {"stream": "joint", "length": 4, "stack": 4, "protocol": "segments:2x5",
              "model_options": {"fuse_at": "features", "fuse": "gated"}},
}  # fmt: skip


@pytest.fixture
def film(make_video: Callable[..., Path], tmp_path: Path) -> Path:
    return make_video(tmp_path / "film.avi", frames=FRAMES, size=(48, 64))


def one_pass(film: Path, streams: dict[str, Stream], **changes: Any) -> WindowPass:
    window, stride = Span(WINDOW, True), Span(STRIDE, True)
    return WindowPass(film, streams, **{"window": window, "stride": stride, "runtime": RUNTIME}
                      | changes)  # fmt: skip


def separate(stream: Stream, film: Path, window: Window, folder: Path) -> np.ndarray:
    """The logits of a window as a video of its own: a folder of its frames."""
    cut = folder / f"{window.number:03d}"
    frames = list(read_frames(film))[window.begin : window.end]
    for number, frame in enumerate(frames):
        write_png(cut / f"{number:03d}.png", Image.fromarray(frame))
    stored, _ = stream.extract(cut, work_dir=folder / f"{cut}-store", threads=1)
    protocol = window_protocol(
        stream.protocol, stream.spec.modality, length=stored.length, stride=STRIDE
    )
    return stream._replace(protocol=protocol).logits(stored, RUNTIME)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_as_predicted_by_themselves(kind: str, film: Path, tmp_path: Path) -> None:
    stream = make_stream(**KINDS[kind])
    windows = one_pass(film, {"it": stream})
    results = list(windows)
    assert [(w.begin, w.end) for _, w, _ in results] == window_grid(
        FRAMES, window=WINDOW, stride=STRIDE
    )
    for _, window, logits in (results[1], results[-1]):
        expected = separate(stream, film, window, tmp_path / "cut")
        assert logits.shape == expected.shape
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert (windows.frames, windows.fps, windows.damage) == (FRAMES, 25.0, None)


def test_streams_share_a_pass_and_it_goes_on_where_it_was(film: Path) -> None:
    """To the last bit, from whatever window, and whatever the other stream has done."""
    streams = {
        "spatial": make_stream("spatial", length=1, protocol="segments:6"),
        "motion": make_stream("motion", length=4, protocol="segments:3"),
    }

    def run(**first: int) -> list[tuple[str, int, bytes]]:
        windows = one_pass(film, streams, first=first)
        return [(key, w.number, logits.tobytes()) for key, w, logits in windows]

    whole = run(spatial=0, motion=0)
    assert len(whole) == 2 * 10
    for first in ({"spatial": 5, "motion": 3}, {"spatial": 9, "motion": 9}):
        rest = [each for each in whole if each[1] >= first[each[0]]]
        assert sorted(run(**first)) == sorted(rest)


@pytest.mark.parametrize(("window", "stride"), [(4, 10), (5, 2)])
def test_it_goes_on_behind_a_last_window_beside_the_grid(
    make_video: Callable[..., Path], tmp_path: Path, window: int, stride: int
) -> None:
    """Of 16 frames; where all windows are known, the last one lies before what is needed."""
    film = make_video(tmp_path / "film.avi", frames=16, size=(48, 64))
    stream = make_stream("spatial", length=1, protocol="segments:3")

    def run(**first: int) -> list[tuple[str, int, bytes]]:
        spans = {"window": Span(window, True), "stride": Span(stride, True)}
        windows = one_pass(film, dict.fromkeys(first, stream), first=first, **spans)
        found = [(key, w.number, logits.tobytes()) for key, w, logits in windows]
        assert windows.frames == 16
        return sorted(found)

    whole = run(a=0, b=0)
    count = len(whole) // 2
    assert count == len(window_grid(16, window=window, stride=stride))
    for first in ({"a": count, "b": count}, {"a": count, "b": 1}, {"a": count - 1, "b": count}):
        assert run(**first) == [each for each in whole if each[1] >= first[each[0]]]


def test_windows_without_repeated_frames_are_of_real_time(film: Path, tmp_path: Path) -> None:
    """The first 20 frames are there twice, and then one for 12; each window as if cut out."""
    frames = list(read_frames(film))[:30]
    played = [frames[i] for i in [*np.repeat(range(20), 2), *[20] * 12, *range(21, 30)]]
    for number, frame in enumerate(played):
        write_png(tmp_path / "film" / f"{number:03d}.png", Image.fromarray(frame))
    settings = extraction_settings("dis", {}, bound=20.0, short_side=40, drop_repeated=True)
    stream = make_stream("motion", length=4, protocol="segments:3")._replace(settings=settings)
    spans = {"window": Span(10, True), "stride": Span(5, True)}
    windows = one_pass(tmp_path / "film", {"it": stream}, **spans)
    results = {window.number: (window, logits) for _, window, logits in windows}
    grid = window_grid(61, window=10, stride=5)
    times = [(begin / 25, end / 25) for begin, end in grid]
    assert [windows.times(window) for window, _ in results.values()] == times
    assert [window[1:] for window, _ in results.values()] == [
        (0, 5), (2, 8), (5, 10), (7, 13), (10, 15), (12, 18), (15, 20), (17, 21), (20, 22),
        (20, 24), (20, 29), (20, 30),
    ]  # fmt: skip
    for number in (0, 1, 9, 11):  # window 8 is still, and has the next frame for its flow
        begin, end = grid[number]
        for place, frame in enumerate(played[begin:end]):
            write_png(tmp_path / f"{number}/{place:03d}.png", Image.fromarray(frame))
        work_dir = tmp_path / f"store{number}"
        stored, _ = stream.extract(tmp_path / str(number), work_dir=work_dir, threads=1)
        assert stored.length == results[number][0].end - results[number][0].begin - 1
        expected = stream.logits(stored, RUNTIME)[0]
        np.testing.assert_allclose(results[number][1], expected, atol=1e-5)
    rest = one_pass(tmp_path / "film", {"it": stream}, first={"it": 7}, **spans)
    again = {window.number: logits for _, window, logits in rest}
    assert list(again) == list(range(7, 12))
    assert all(logits.tobytes() == results[n][1].tobytes() for n, logits in again.items())


def test_times_are_those_at_which_frames_are_shown(tmp_path: Path) -> None:
    """Of a film of 25 frames a second, of which 50 in the middle are missing."""
    path, shown = tmp_path / "film.mp4", [*range(20), *range(70, 80)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in shown:
            picture = np.full((48, 64, 3), 3 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    stream = make_stream("spatial", length=1, protocol="segments:1")
    windows = one_pass(path, {"it": stream}, window=Span(10, True), stride=Span(10, True))
    times = [windows.times(window) for _, window, _ in windows]
    after_a_frame = 1 / windows.fps
    expected = [(0, 9 / 25 + after_a_frame), (10 / 25, 19 / 25 + after_a_frame),
                (70 / 25, 79 / 25 + after_a_frame)]  # fmt: skip
    np.testing.assert_allclose(times, expected, atol=0.03)


def test_snippets_are_computed_once(film: Path) -> None:
    streams = {
        "spatial": make_stream("spatial", length=1, protocol="clips19"),
        "motion": make_stream("motion", length=4, protocol="segments:3"),
    }
    windows = one_pass(film, streams)
    logits = {key: scores for key, _, scores in windows}
    one_by_one = {key: 10 * len(scores) for key, scores in logits.items()}
    assert windows.forwarded == {"spatial": 20 + 8 * 5 + 6, "motion": 4 + 8 * 1 + 3}
    assert one_by_one == {"spatial": 10 * 19, "motion": 10 * 3}


@pytest.mark.parametrize("frames", [WINDOW, 5 * WINDOW])
def test_memory_does_not_grow_with_the_video(
    make_video: Callable[..., Path], tmp_path: Path, frames: int
) -> None:
    film = make_video(tmp_path / "film.avi", frames=frames, size=(48, 64))
    stream = make_stream("motion", length=4, protocol="segments:3")
    windows = one_pass(film, {"motion": stream})
    held = []
    for _ in windows:
        held.append(windows.most_held)
    assert max(held) <= WINDOW + MAX_CHUNK + 1


def test_a_video_shorter_than_a_window_is_one(film: Path) -> None:
    stream = make_stream("spatial", length=1, protocol="segments:3")
    windows = one_pass(film, {"spatial": stream}, window=Span(60.0), stride=Span(1.0))
    ((_, window, logits),) = windows
    assert (window, logits.shape) == (Window(0, 0, FRAMES), (3, 1, 3))
    assert windows.times(window) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("protocol", "modality", "length", "stride", "expected"),
    [
        ("segments:4", RGB, 8, 2, [0, 2, 4, 6]),
        ("segments:3", RGB, 8, 2, [0, 4, 6]),
        ("segments:2", RGB, 8, 2, [1, 5]),
        ("segments:5", RGB, 8, 2, [0, 2, 4, 4, 6]),
        ("segments:8", RGB, 8, 2, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("segments:3", RGB, 8, 8, [1, 4, 6]),  # windows that do not overlap share nothing
        ("segments:1", RGB, 8, 2, [4]),
        ("clips19", RGB, 60, 15, [s for s in range(1, 60, 3) if s != 28]),
        ("segments:3", FLOW, 59, 15, [5, 35, 50]),
        ("segments:3", FLOW, 3, 1, [0, 0, 0]),
        ("segments:2", modality_of("spatial", clip_length=4, frame_interval=0), 24, 2, [1, 4]),
    ],
)  # fmt: skip
def test_the_snippets_of_windows_lie_on_one_grid(
    protocol: str, modality: Any, length: int, stride: int, expected: list[int]
) -> None:
    made = window_protocol(find_protocol(protocol), modality, length=length, stride=stride)
    assert made.snippet_starts(length, **modality.sampling) == expected
    assert made.num_snippets == len(expected)


@pytest.mark.parametrize(("kind", "centred"), [("flow", False), ("flow", True), ("joint", True)])
def test_features_are_the_networks_own(
    film: Path, tmp_path: Path, kind: str, centred: bool
) -> None:
    """Of the snippet in the middle of each window; beyond the ends are the outermost frames."""
    stream = make_stream(**{**KINDS[kind], "protocol": "segments:1x5"})
    changes = {"window": Span(7, True), "stride": Span(8, True), "centred": centred}
    windows = one_pass(film, {"it": stream}, as_features=True, **changes)
    results = [(window.begin, row) for _, window, row in windows]
    begins = range(-3, 70, 8) if centred else range(0, FRAMES - 6, 8)
    assert [begin for begin, _ in results] == list(begins)
    store, _ = stream.extract(film, work_dir=tmp_path / "whole", threads=1)
    for begin, row in (results[0], results[3], results[-1]):
        # A window of 7 frames has 6 flow pairs, so 3 places for 4 of them; the middle one is 1.
        snippet = [min(max(0, begin + 1 + pair), FRAMES - 2) for pair in range(4)]
        views = stream.protocol.views(*store.open().size)
        clips = np.empty((1, 5, *stream.spec.modality.snippet_shape(32)), np.uint8)
        write_snippets(
            store.open().pictures, [snippet], views, clips, modality=stream.spec.modality
        )
        with torch.inference_mode():
            expected = stream.network.features(torch.from_numpy(clips[0])[:, None])
        np.testing.assert_allclose(row, expected.mean(dim=(0, 1)), atol=1e-5)
