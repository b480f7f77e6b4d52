"""Windows of a stream that goes on: a camera, an address, or a file played in real time.

One thread receives frames, the other predicts windows. What comes while a window is predicted is
kept; where more than a second of windows is waiting then, the oldest are dropped, each as a whole.
Flow is computed where a network asks for it, so not where a cascade decides without.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow_extract.display.show import DEFAULT_FPS
from flow_extract.extraction.settings import recorded_method
from flow_extract.store.codecs import CODECS, load_codec, quantize
from flow_extract.video.decode import VideoError
from flow_extract.video.frames import resize, scaled_size
from fusion.events.detection import THRESHOLD, DetectionOptions, background_class
from fusion.events.event import Event
from fusion.tables.windows import Span
from twostream.compute.device import Runtime
from twostream.prediction.live_sources import (
    SILENCE_SECONDS,
    Frames,
    frame_rate,
    open_source,
    recorded,
)
from twostream.prediction.networks import (
    FUSED,
    Networks,
    PredictOptions,
    group_by_extraction,
    load_networks,
    probabilities,
)
from twostream.prediction.windows import StreamScorer, Window
from twostream_base.errors import InputError

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds before the next try to connect
STATUS_SECONDS, WAKE_SECONDS = 5.0, 0.5
ENDED = "it ended"
BEHIND_SECONDS = 1.0  # that results may be late before windows are dropped
HYSTERESIS = DetectionOptions().hysteresis


class LiveBuffer:
    """Frames that have come, by number; their pictures are encoded and flow computed when read.

    Attributes:
        size: height and width.
        begin, end: numbers of the first frame that is held, and of the next to come.
        origin: number of the first frame since the source was connected; windows do not go beyond.
        rates: frames a second of each connection that gave frames, by its `origin`.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.codec = CODECS[settings["codec"]]
        decoders = load_codec(settings["codec"])
        self._decoders = {"rgb": decoders.decode_rgb, "flow": decoders.decode_flow}
        self._method = recorded_method(settings, None)
        self._frames: deque[np.ndarray] = deque()
        self._arrivals: deque[float] = deque()
        self._encoded: dict[tuple[str, int], bytes] = {}
        self.size, self.begin, self.end, self.origin = (0, 0), 0, 0, 0
        self.rates: dict[int, float] = {}
        self.flows = 0  # that were computed
        self.lost, self.ended, self.reason = "", False, ""  # lost: why; over: and why
        self.changed = threading.Condition()

    def add(self, frame: np.ndarray, *, fps: float | None) -> None:
        """Take the next frame."""
        height, width = frame.shape[:2]
        side = self.settings["short_side"]
        small = resize(frame, scaled_size(width, height, side) if side else (width, height))
        with self.changed:
            if self.size not in ((0, 0), small.shape[:2]):
                small = resize(small, self.size[::-1])
            self.size = small.shape[:2]
            self.lost = ""
            self.rates.setdefault(self.origin, frame_rate(fps))
            self._frames.append(np.ascontiguousarray(small))
            self._arrivals.append(time.monotonic())
            self.end += 1
            self.changed.notify_all()

    def restart(self, reason: str) -> None:
        """What comes next has a gap before it: the source is lost."""
        with self.changed:
            self.lost, self.origin = reason, self.end
            self.changed.notify_all()

    def drop_before(self, index: int) -> None:
        """Forget the frames before a number."""
        with self.changed:
            while self._frames and self.begin < index:
                self._frames.popleft()
                self._arrivals.popleft()
                self.begin += 1
            self._encoded = {at: blob for at, blob in self._encoded.items() if at[1] >= index}
            self.rates = {at: fps for at, fps in self.rates.items() if at >= index}

    def next_origin(self, origin: int) -> int | None:
        """Where the connection after that of `origin` begins; None: it has given no frame."""
        with self.changed:
            return min((at for at in self.rates if at > origin), default=None)

    def arrival(self, index: int) -> float:
        """When a frame came, by the monotonic clock."""
        with self.changed:
            return self._arrivals[index - self.begin]

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """As `StoreEntry.pictures`: what went through the codec of the training videos."""
        for index in indices:
            blob = self._encoded.get((key, index))
            if blob is None:
                with self.changed:
                    clip = [
                        self._frames[index - self.begin + t] for t in range(1 + (key == "flow"))
                    ]
                blob = self._encoded[key, index] = self._encode(clip)
            yield self._decoders[key](np.frombuffer(blob, np.uint8), self.size)

    def _encode(self, frames: list[np.ndarray]) -> bytes:
        quality = self.settings["quality"]
        if len(frames) == 1:
            return self.codec.encode_rgb(frames[0], quality=quality)
        assert self._method
        self.flows += 1
        (levels,) = quantize(
            self._method(np.stack(frames)), bound=self.settings["quantiser"]["bound"]
        )
        return self.codec.encode_flow(levels, quality=quality)


def receive(
    frames: Callable[[], Frames], again: bool, buffers: Sequence[LiveBuffer], stop: threading.Event
) -> None:
    """Fill the buffers until the source ends, or `stop`; connect again where it is lost."""
    wait, reason = FIRST_WAIT, ""
    while not stop.is_set():
        try:
            reason = ENDED
            for frame, fps, _ in frames():
                wait = FIRST_WAIT
                for buffer in buffers:
                    buffer.add(frame, fps=fps)
                if stop.is_set():
                    return
        except VideoError as error:
            reason = str(error)
        except Exception as error:  # in this thread nobody would hear of it
            reason, again = f"{type(error).__name__}: {error}", False
        if not again:
            break
        for buffer in buffers:
            buffer.restart(reason)
        stop.wait(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    if stop.is_set():  # nobody waits for more, so nothing is wrong
        return
    for buffer in buffers:
        with buffer.changed:
            buffer.ended, buffer.reason = True, reason
            buffer.changed.notify_all()


class LiveEvents:
    """Events as they happen: a class begins at the threshold, and ends below a share of it."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self._background = background_class(class_names)
        self._open: dict[int, list[tuple[float, float, float]]] = {}  # start, end, probability

    def add(
        self, start: float, end: float, probabilities: np.ndarray, *, gap: bool = False
    ) -> list[Event]:
        """Take the stretch in the middle of the next window; the events that have ended.

        start 0, end 1, p .6; start 1, end 2, p .4; start 2, end 3, p .2: an event from 0 to 2

        Args:
            gap: more than another stretch before it was not seen, so that events end there.
        """
        ended = self.finish() if gap else []
        for label, name in enumerate(self.class_names):
            probability = float(probabilities[label])
            least = THRESHOLD * (HYSTERESIS if label in self._open else 1)
            if name != self._background and probability >= least:
                self._open.setdefault(label, []).append((start, end, probability))
        over = [label for label, parts in self._open.items() if parts[-1][0] != start]
        return ended + [self._close(label) for label in over]

    def finish(self) -> list[Event]:
        """The events that still go on, as if they ended now."""
        return [self._close(label) for label in list(self._open)]

    def _close(self, label: int) -> Event:
        parts = self._open.pop(label)
        score = float(np.mean([probability for *_, probability in parts]))
        return Event(parts[0][0], parts[-1][1], self.class_names[label], score)


def predict_live(
    source: str,
    options: PredictOptions,
    runtime: Runtime,
    *,
    window: Span,
    stride: Span,
    tell: Callable[[str], None],
    write: Callable[[dict[str, Any]], None],
    every_window: bool = False,
    record: Path | None = None,
) -> dict[str, Any]:
    """Predict the windows of a source until it ends, or is interrupted.

    Args:
        record: a `.mkv` file for the frames, as `recorded` writes it.
        tell: gets the status, and what is wrong.
        write: gets each event when it has ended; with `every_window`, windows too.

    Returns:
        Counts of `windows`, `dropped`, and windows of which `all_streams` were asked; `latency`,
        the median seconds from the last frame of a window to its result.

    Raises:
        InputError: no such source, a recording that is there, or the runs do not fit each other.
    """
    frames, again = open_source(source)
    if record:
        if record.suffix.lower() != ".mkv":
            raise InputError(f"--record {record}: what comes is recorded to a .mkv file")
        if record.exists():
            raise InputError(f"--record {record}: is there already; give the name of a new file")
        record.parent.mkdir(parents=True, exist_ok=True)
        frames = recorded(frames, record)
    networks = load_networks(options, runtime, shared=True)  # flow is computed when it is read
    streams = networks.streams
    # Streams of the same frames share a buffer, and so its flow.
    buffers: dict[str, LiveBuffer] = {}
    for group in group_by_extraction(streams):
        buffer = LiveBuffer(next(iter(group.values())).settings)
        buffers |= dict.fromkeys(group, buffer)
    every = list(dict.fromkeys(buffers.values()))
    if repeated := [key for key, of in streams.items() if of.settings.get("drop_repeated")]:
        tell(
            f"the {' and the '.join(repeated)} network was trained without repeated frames "
            "(--drop-repeated); of what comes all frames are taken"
        )
    warm_up(networks)
    first, stop = every[-1], threading.Event()  # filled last: what is in it is in all
    thread = threading.Thread(target=receive, args=(frames, again, every, stop), daemon=True)
    began = time.monotonic()
    thread.start()
    counts = {"windows": 0, "dropped": 0, "all_streams": 0}
    latencies: deque[float] = deque(maxlen=1000)
    events = LiveEvents(next(iter(streams.values())).spec.class_names)
    connection: Connection | None = None
    fps, told, slow_told, last_lost = 0.0, began, -inf, ""
    try:
        while True:
            with first.changed:
                origin = connection.origin if connection else -1
                is_there = connection is not None and connection.end <= first.end
                if not (first.ended or is_there or first.next_origin(origin) is not None):
                    first.changed.wait(WAKE_SECONDS)
                lost, ended, here = first.lost, first.ended, first.end
                following = first.next_origin(origin)
                next_fps = first.rates[following] if following is not None else 0.0
            if lost and lost != last_lost and again:
                tell(f"source lost ({lost}); connecting again")
            last_lost = lost or last_lost
            limit = here if following is None else following  # windows do not go beyond
            if connection and connection.end <= limit:
                step = connection.step
                waiting = (limit - connection.end) // step
                missed = max(0, waiting - max(1, int(BEHIND_SECONDS * fps / step)))
                connection.number += missed
                counts["dropped"] += missed
                if missed and time.monotonic() - slow_told >= STATUS_SECONDS:
                    slow_told = time.monotonic()
                    tell("too slow: windows are dropped, the oldest first")
                arrived = max(buffer.arrival(connection.end - 1) for buffer in every)
                fusion, _ = networks.ask(partial(connection.logits, buffers=buffers))
                asked, fused = list(fusion.streams.scores), probabilities(fusion)[FUSED][0]
                counts["windows"] += 1
                counts["all_streams"] += len(asked) == len(streams)
                latency = time.monotonic() - arrived
                latencies.append(latency)
                end = arrived - began
                start = end - connection.length / fps
                if every_window:
                    best = int(fused.argmax())
                    write(
                        {
                            "window": [round(start, 3), round(end, 3)],
                            "class": events.class_names[best],
                            "probability": round(float(fused[best]), 6),
                            "streams": asked,
                            "latency": round(latency, 4),
                        }
                    )
                middle, half = (start + end) / 2, step / fps / 2
                for event in events.add(middle - half, middle + half, fused, gap=missed > 1):
                    write(event_row(event))
                connection.number += 1
                for buffer in every:
                    buffer.drop_before(min(connection.begin, limit))
            elif following is not None or lost or ended:  # the connection has no more windows
                for event in events.finish():
                    write(event_row(event))
                for buffer in every:
                    buffer.drop_before(limit)
                if following is not None:
                    if connection or last_lost:
                        before = f", not {fps:g}" if fps not in (0.0, next_fps) else ""
                        tell(f"source is back, {next_fps:g} frames a second{before}")
                    connection = Connection(networks, following, next_fps, window, stride)
                    fps, last_lost = next_fps, ""
                elif ended:
                    break
            if (now := time.monotonic()) - told >= STATUS_SECONDS:
                told = now
                tell(status(counts, latencies, seconds=now - began, frames=here))
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()
        if record:  # until its file is closed
            thread.join(SILENCE_SECONDS + 1)
    for event in events.finish():
        write(event_row(event))
    tell(status(counts, latencies, seconds=time.monotonic() - began, frames=first.end))
    if first.ended and first.reason != ENDED:
        raise InputError(f"--live {source}: {first.reason}")
    if first.ended and not counts["windows"]:
        raise InputError(f"--live {source}: no window of {window}: {first.reason}")
    return counts | {"latency": float(np.median(latencies)) if latencies else None}


class Connection:
    """The windows of the frames that have come since the source was connected.

    Args:
        origin: number of the first of these frames.

    Attributes:
        length, step: of windows, in frames.
        number: of the next window, from 0.
    """

    def __init__(
        self, networks: Networks, origin: int, fps: float, window: Span, stride: Span
    ) -> None:
        self.origin, self.number = origin, 0
        self.length, self.step = window.frames(fps), stride.frames(fps)
        if self.length < 2 and any(stream.sees_flow for stream in networks.streams.values()):
            raise InputError(f"--window {window} is 1 frame, which has no flow")
        self._scorers = {
            key: StreamScorer(stream, networks.runtime, window=self.length, stride=self.step)
            for key, stream in networks.streams.items()
        }

    @property
    def begin(self) -> int:
        """The first frame of the next window."""
        return self.origin + self.number * self.step

    @property
    def end(self) -> int:
        """The first frame after it."""
        return self.begin + self.length

    def logits(self, key: str, *, buffers: Mapping[str, LiveBuffer]) -> NDArray[np.float32]:
        """What a stream says of the next window: logits (1, S, R, classes)."""
        scorer, window = self._scorers[key], Window(self.number, self.begin, self.end)
        ((_, logits),) = [*scorer.add(window, buffers[key]), *scorer.finish()]
        return logits[None]


def warm_up(networks: Networks) -> None:
    """Take an empty window through everything: what is loaded or compiled late delays none then."""
    window = Span(64, in_frames=True)
    connection = Connection(networks, 0, DEFAULT_FPS, window, window)
    for key, stream in networks.streams.items():
        buffer = LiveBuffer(stream.settings)
        for _ in range(connection.length):
            buffer.add(np.zeros((240, 320, 3), np.uint8), fps=None)
        connection.logits(key, buffers={key: buffer})


def event_row(event: Event) -> dict[str, Any]:
    """An event as JSON values."""
    return {
        "event": event.label,
        "start": round(event.start, 3),
        "end": round(event.end, 3),
        "score": round(event.score, 6),
    }


def status(
    counts: dict[str, int], latencies: Sequence[float], *, seconds: float, frames: int
) -> str:
    """How it goes, in one line."""
    latest = [*latencies][-20:]
    delay = f"{np.median(latest):.2f} s (at most {max(latest):.2f})" if latest else "not known"
    return (
        f"{seconds:.0f} s, {frames / max(seconds, 1e-9):.1f} frames a second; "
        f"{counts['windows']:,} windows, {counts['dropped']:,} dropped, "
        f"all streams for {counts['all_streams']:,}; latency {delay}"
    )
