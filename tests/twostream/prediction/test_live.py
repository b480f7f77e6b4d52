"""`twostream predict --live`: windows of what goes on."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from click.testing import Result

from flow_extract.video.decode import VideoError, probe, read_frames
from fusion.combining.step import StepOptions
from fusion.events.event import Event
from fusion.tables.windows import Span
from twostream.compute.device import Runtime
from twostream.data.protocols import find_protocol
from twostream.models.checkpoint import NetworkSpec, network_from_spec, save_checkpoint
from twostream.prediction import live, live_sources
from twostream.prediction.networks import Extraction, PredictOptions, Stream, extraction_of
from twostream.prediction.windows import StreamScorer, Window, WindowPass

Command = Callable[..., Result]


def spec_of(stream: str) -> NetworkSpec:
    return NetworkSpec(
        model="shufflenet_v2_x0_5", model_options={}, stream=stream,
        clip_length=4 if stream == "motion" else 1, frame_interval=1, resize=(),
        class_names=("a", "b"), num_segments=3, consensus="mean", consensus_options={},
        input_size=32, epoch=0, selected_on="val", flow={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("live")
    options = ["--device", "cpu", "--threads", "1", "--precision", "fp32"]
    for stream in ("spatial", "motion"):
        spec = spec_of(stream)
        save_checkpoint(folder / stream / "best", network_from_spec(spec), spec, {})
        options += [f"--{stream}", str(folder / stream)]
    return options


def test_windows_are_those_of_a_file(make_video: Callable[..., Path], tmp_path: Path) -> None:
    film = make_video(tmp_path / "film.avi", frames=40)
    spec, runtime = spec_of("motion"), Runtime(torch.device("cpu"), "fp32", 1, 64)
    settings = extraction_of(spec, "", Extraction())
    network = network_from_spec(spec).eval()
    stream = Stream(spec, network, settings, find_protocol("segments:3"))
    spans = Span(16, True), Span(4, True)
    expected = {w.begin: logits for _, w, logits in WindowPass(film, {"": stream}, *spans, runtime)}
    buffer = live.LiveBuffer(stream.settings)
    for frame in read_frames(film):
        buffer.add(frame, fps=25.0)
    scorer = StreamScorer(stream, runtime, window=16, stride=4)
    for number in (0, 1, 4):  # others are dropped
        window = Window(number, 4 * number, 4 * number + 16)
        ((_, logits),) = [*scorer.add(window, buffer), *scorer.finish()]
        np.testing.assert_allclose(logits, expected[window.begin], atol=1e-5)
        buffer.drop_before(window.begin)
    assert buffer.flows < 39  # no more than snippets show


def test_events_as_they_happen() -> None:
    events = live.LiveEvents(("background", "run"))
    curve = [0.4, 0.6, 0.4, 0.2, 0.9]
    found = [events.add(float(at), at + 1.0, np.array([1 - p, p])) for at, p in enumerate(curve)]
    assert found == [[], [], [], [Event(1.0, 3.0, "run", 0.5)], []]
    assert events.finish() == [Event(4.0, 5.0, "run", 0.9)]


@pytest.mark.parametrize("gap", [False, True])
def test_no_event_goes_on_over_windows_that_are_missing(gap: bool) -> None:
    """A pause of the source is no gap. Behind a gap a class begins anew, at .5."""
    events = live.LiveEvents(("background", "run"))
    for at, p in [(0.0, 0.9), (1.0, 0.6)]:
        assert events.add(at, at + 1, np.array([1 - p, p])) == []
    ended = events.add(9.0, 10.0, np.array([0.55, 0.45]), gap=gap)
    assert ended == [Event(0.0, 2.0, "run", 0.75)] * gap
    assert len(events.finish()) == (not gap)


def lines(done: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_file_in_real_time(
    twostream: Command, runs: list[str], make_video: Callable[..., Path], tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.avi", frames=30)
    options = ["--window", "16f", "--stride", "12f", "--json"]
    began = time.monotonic()
    done = twostream("predict", "--live", film, *runs, *options)
    assert time.monotonic() - began > 1.1
    windows = [line for line in lines(done) if "window" in line]
    assert windows
    assert windows[0]["streams"] == ["spatial", "motion"]
    assert "latency" in done.stderr
    sure = twostream("predict", "--live", film, *runs, *options, "--cascade", "0")
    assert {tuple(line["streams"]) for line in lines(sure) if "window" in line} == {("spatial",)}


@pytest.fixture
def play(
    twostream: Command, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """`play([(frames, fps), ...], *options)`: a source with these connections, then it is over.

    Frames come 20 ms apart; before that of `pause` nothing does for 10 seconds. No window is
    predicted before all frames of the first connection have come.
    """
    buffers: list[live.LiveBuffer] = []
    began, paused_at, least = time.monotonic(), 10**9, 0

    class Known(live.LiveBuffer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            buffers.append(self)

        def arrival(self, index: int) -> float:
            while self.end < least:
                time.sleep(0.001)
            return began + index / 50 + (10 if index >= paused_at else 0)

    def run(
        connections: list[tuple[int, float]],
        *options: str,
        between: Callable[..., None] = lambda buffers: None,
        pause: int = 10**9,
    ) -> Result:
        nonlocal paused_at, least
        left, paused_at, least = iter(connections), pause, connections[0][0]

        def frames() -> live_sources.Frames:
            between(buffers)
            if (connection := next(left, None)) is None:
                raise RuntimeError("the end of the test")
            for number in range(connection[0]):
                yield np.zeros((48, 64, 3), np.uint8), connection[1], number / connection[1]
            raise VideoError("cable pulled")

        monkeypatch.setattr(live, "FIRST_WAIT", 0.0)
        monkeypatch.setattr(live, "warm_up", lambda *args: None)
        monkeypatch.setattr(live, "LiveBuffer", Known)
        monkeypatch.setattr(live, "open_source", lambda source: (frames, True))
        done = twostream("predict", "--live", "0", *runs[:-2], *options, "--json", exit_code=2)
        assert "--live 0: RuntimeError: the end of the test" in done.stderr
        return done

    return run


def test_each_connection_has_its_rate_and_events(play: Callable[..., Any]) -> None:
    """All are there before the first window is predicted; every window is predicted or counted."""
    connections = [(40, 25.0), (9, 25.0), (70, 50.0), (33, 25.0)]
    options = ["--window", "0.64", "--stride", "0.64"]  # 16 frames, then 32, then 16
    done = play(connections, *options)
    windows = [line["window"] for line in lines(done) if "window" in line]
    assert {round(end - start, 2) for start, end in windows} == {0.64}
    (counts,) = re.findall(r"(\d+) windows, (\d+) dropped", done.stderr)
    assert sum(map(int, counts)) == 2 + 0 + 2 + 2
    assert int(counts[0]) == len(windows)
    assert "source is back, 50 frames a second, not 25" in done.stderr
    assert "source is back, 25 frames a second, not 50" in done.stderr
    # The same class is seen all the time.
    assert len([line for line in lines(done) if "event" in line]) == 3


def test_an_event_goes_on_when_the_source_has_paused(
    play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEHIND_SECONDS", 100.0)
    done = play([(64, 25.0)], "--window", "16f", "--stride", "8f", pause=30)
    windows = [line["window"] for line in lines(done) if "window" in line]
    assert len(windows) == 7
    (event,) = [line for line in lines(done) if "event" in line]
    assert event["end"] - event["start"] > 10


def test_what_is_waiting_longest_is_dropped(play: Callable[..., Any]) -> None:
    """Of windows every 0.16 seconds six may wait behind the one that is predicted."""
    done = play([(100, 25.0)], "--window", "16f", "--stride", "4f")
    windows = [line for line in lines(done) if "window" in line]
    dropped = 22 - len(windows)
    # Perhaps all frames have come before the first look, perhaps after it.
    assert dropped in (14, 15)
    assert f"{len(windows)} windows, {dropped} dropped" in done.stderr
    assert done.stderr.count("too slow") == 1


def test_a_recording(play: Callable[..., Any], tmp_path: Path) -> None:
    """Of each connection a file; what was there before stays."""
    (tmp_path / "seen-2.mkv").write_bytes(b"other")
    play([(20, 25.0), (9, 50.0)], "--window", "16f", "--record", "seen.mkv")
    assert [probe(f).fps for f in ("seen.mkv", "seen-3.mkv")] == [25.0, 50.0]
    frames = np.stack(list(read_frames("seen.mkv")))
    assert frames.shape == (20, 48, 64, 3)
    assert frames.max() < 4
    assert len(list(read_frames("seen-3.mkv"))) == 9
    assert (tmp_path / "seen-2.mkv").read_bytes() == b"other"


@pytest.mark.parametrize(
    ("rate", "seconds", "expected"),
    [
        (119.88, [90000 + n / 119.88 for n in range(9)], [0, 8, 17, 25, 33, 42, 50, 58, 67]),
        (90000.0, [7.0, 7.04, 7.9, 7.9, 7.5, 8.0], [0, 40, 900, 901, 902, 1000]),
        (None, [None] * 4, [0, 500, 1000, 1500]),
    ],
)
def test_a_recording_has_the_times_of_its_frames(
    rate: float | None,
    seconds: list[float | None],
    expected: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of the source's clock, or when they came; whatever rate it reports."""
    monkeypatch.setattr(live_sources, "time", SimpleNamespace(monotonic=count(100, 0.5).__next__))
    picture = np.zeros((48, 64, 3), np.uint8)
    frames = live_sources.recorded(
        lambda: ((picture, rate, at) for at in seconds), tmp_path / "seen.mkv"
    )
    assert [at for _, _, at in frames()] == seconds
    with av.open(str(tmp_path / "seen.mkv")) as video:
        assert [round(1000 * frame.time) for frame in video.decode(video=0)] == expected
    fps = probe(tmp_path / "seen.mkv").fps
    assert fps == pytest.approx(rate if rate == 119.88 else live_sources.DEFAULT_FPS, abs=1e-3)


def test_connections_without_a_window_leave_nothing_in_memory(play: Callable[..., Any]) -> None:
    held = []

    def between(buffers: list[live.LiveBuffer]) -> None:
        give_up = time.monotonic() + 10
        while buffers[0].end > buffers[0].begin and time.monotonic() < give_up:
            time.sleep(0.001)
        held.append(buffers[0].end - buffers[0].begin)

    done = play([(9, 25.0)] * 5 + [(16, 25.0)], "--window", "16f", between=between)
    assert held == [0] * 7
    assert len([line for line in lines(done) if "window" in line]) == 1


def options_of(runs: list[str]) -> PredictOptions:
    spatial, motion = (Path(runs[-3]), Path(runs[-1]))
    return PredictOptions(
        {"spatial": spatial, "motion": motion}, "best", "segments:2", None, StepOptions(),
        Extraction(), top=1,
    )  # fmt: skip


def test_an_interrupt_while_the_source_is_lost_is_no_error(
    runs: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def frames() -> live_sources.Frames:
        raise VideoError("cable pulled")
        yield

    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if "source lost" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(live, "FIRST_WAIT", 60.0)
    monkeypatch.setattr(live, "warm_up", lambda *args: None)
    monkeypatch.setattr(live, "open_source", lambda source: (frames, True))
    counts = live.predict_live(
        "0", options_of(runs), Runtime(torch.device("cpu"), "fp32", 1, 64), window=Span(16, True),
        stride=Span(8, True), tell=tell, write=lambda row: None, record=tmp_path / "seen.mkv",
    )  # fmt: skip
    assert told[0] == "source lost (cable pulled); connecting again"
    assert counts["windows"] == 0


def test_a_source_over_udp_that_stops_and_starts_again(
    runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MPEG-TS on the loopback address, as FFmpeg sends it; the frames differ in their grey.

    On a slow machine it may be lost more often; that does no harm.
    """
    monkeypatch.setattr(live_sources, "SILENCE_SECONDS", 0.7)
    monkeypatch.setattr(live, "FIRST_WAIT", 0.01)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{free.getsockname()[1]}"
    windows: list[dict[str, Any]] = []
    told: list[str] = []
    lost, sent = threading.Event(), []

    def send() -> None:
        for turn in range(2):
            begun = len(windows)
            with av.open(f"{address}?pkt_size=1316", "w", format="mpegts") as out:
                stream = out.add_stream("mpeg2video", rate=25)
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                picture = np.full((48, 64, 3), 100 * turn, np.uint8)
                give_up = time.monotonic() + 90
                while len(windows) < begun + 2 and time.monotonic() < give_up:
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    for packet in stream.encode(frame):
                        out.mux(packet)
                    time.sleep(0.01)
            lost.clear()
            sent.append(len(windows))
            if not turn:
                lost.wait(15)

    def tell(text: str) -> None:
        told.append(text)
        if "source lost" in text:
            lost.set()
        if len(sent) == 2:  # lost again, or at the next status
            sent.append(0)
            raise KeyboardInterrupt

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    live.predict_live(
        address, options_of(runs), Runtime(torch.device("cpu"), "fp32", 1, 64),
        window=Span(16, True), stride=Span(8, True), tell=tell, write=windows.append,
        every_window=True,
    )  # fmt: skip
    sender.join(20)
    assert sent[0] >= 2
    assert sent[1] >= sent[0] + 2
    assert "source lost (nothing has come for 0.7 s); connecting again" in told
    assert "source is back, 25 frames a second" in told


def test_an_address_where_nobody_is() -> None:
    frames, again = live_sources.open_source("rtsp://127.0.0.1:1/camera")
    assert again
    with pytest.raises(VideoError, match="^Connection refused$"):
        next(frames())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--live", "no.mp4"], "udp://"),
        (["--live", "http://x/y.m3u8"], "udp://"),
        (["--live", "0", "x.mp4"], "not both"),
        ([], "--live SOURCE"),
        (["--live", "0", "--out", "x.mp4"], "--record"),
        (["--live", "0", "--record", "x.avi"], ".mkv"),
        (["x.mp4", "--record", "x.mkv"], "--live"),
    ],
)
def test_wrong_use(twostream: Command, runs: list[str], arguments: list[str], message: str) -> None:
    assert message in twostream("predict", *arguments, *runs, exit_code=2).output
