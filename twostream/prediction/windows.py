"""Sliding windows over a long video, in memory that does not depend on its length.

Flow is computed and frames are decoded once; where repeated frames are left out they are decoded
once before, to tell which. They are encoded as in a store, so that networks see
what they would see in scoring, and kept as long as a window needs them. A snippet that several
windows show goes through the network once. Each window gets the logits that it would get as a video
of its own.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow_extract.display.show import DEFAULT_FPS
from flow_extract.extraction.one_video import EncodedClip, encode_video
from flow_extract.extraction.settings import recorded_method
from flow_extract.store.codecs import load_codec
from flow_extract.video.decode import VideoError, open_video
from fusion.tables.windows import Span, window_grid
from twostream.compute.device import Runtime
from twostream.data.dataset import (
    PictureSource,
    SharedPictures,
    resized_pictures,
    views_shape,
    write_snippets,
)
from twostream.data.protocols import (
    SPREAD,
    Protocol,
    centre_of_segments,
    num_positions,
    snippet_indices,
)
from twostream.prediction.networks import NO_FLOW, Stream
from twostream.transforms.presets import Modality
from twostream_base.errors import InputError
from twostream_base.heartbeat import beat

Snippet = tuple[int, ...]  # indices of its frames or flow pairs in the whole video


def window_protocol(
    protocol: Protocol, modality: Modality, *, length: int, stride: int
) -> Protocol:
    """A protocol whose snippets overlapping windows share: they lie on one grid in all windows.

    The step of the grid is the nearest one to the protocol's own that divides the stride evenly, or
    is a whole number of strides. The snippets are spread over its places in the middle of the
    window; where these are fewer, some snippets come twice. A protocol of one snippet stays as it
    is, as do snippets that are spread over the window, and those of windows that do not overlap.

    Of RGB frames (snippets of 1), length 8, stride 2:
        segments:4    grid 0 2 4 6    0 2 4 6
        segments:3    grid 0 2 4 6    0 4 6       (not 1 4 6: no other window shows 1)
        segments:2    grid 1 5        1 5
        segments:5    grid 0 2 4 6    0 2 4 4 6

    Args:
        length: of a window, in frames or flow pairs.
        stride: from one window to the next, likewise.
    """
    starts = protocol.snippet_starts(length, **modality.sampling)
    positions, count = num_positions(length, **modality.sampling), len(starts)
    if modality.sampling["interval"] != SPREAD and stride < length and min(count, positions) > 1:
        wide = positions / count  # the step that it has by itself
        parts = min(stride, max(1, round(stride / wide)))  # that the stride is cut into
        strides = max(1, round(wide / stride))
        grid = [place * strides * stride // parts for place in range(positions)]
        grid = [start for start in grid if start < positions]
        middle = (positions - 1 - grid[-1]) // 2
        starts = [grid[place] + middle for place in centre_of_segments(len(grid), count)]
    return replace(protocol, starts=lambda *_: [*starts], last_gap=False, segment=None)


class FrameBuffer:
    """The latest frames and flow pairs of a video, encoded as in a store; read like a store's.

    Attributes:
        size: height and width; known once something has been added.
        most: the most frames that were ever in it.
    """

    def __init__(self, codec: str, *, begin: int = 0) -> None:
        decoders = load_codec(codec)
        self._decoders = {"rgb": decoders.decode_rgb, "flow": decoders.decode_flow}
        self._held: dict[str, deque[bytes]] = {"rgb": deque(), "flow": deque()}
        self._begin = {"rgb": begin, "flow": max(0, begin - 1)}
        self.size: tuple[int, int] = (0, 0)
        self.most = 0

    def add(self, clip: EncodedClip) -> None:
        """Take what follows."""
        self.size = clip.size
        self._held["rgb"].extend(clip.rgb)
        self._held["flow"].extend(clip.flow)
        self.most = max(self.most, len(self._held["rgb"]))

    def end(self, key: str) -> int:
        """Number of the first picture of `rgb` or `flow` that has not come yet."""
        return self._begin[key] + len(self._held[key])

    def drop_before(self, index: int) -> None:
        """Forget what comes before a frame."""
        for key, held in self._held.items():
            for _ in range(min(index - self._begin[key], len(held))):
                held.popleft()
                self._begin[key] += 1

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Decode the pictures of `rgb` or `flow` at `indices`, as `StoreEntry.pictures` does."""
        held, begin = self._held[key], self._begin[key]
        for index in indices:
            if not begin <= index < begin + len(held):
                raise IndexError(f"{key} {index}: {begin} to {begin + len(held) - 1} are held")
            blob = np.frombuffer(held[index - begin], np.uint8)
            yield self._decoders[key](blob, self.size)


class SnippetOrder:
    """Numbers snippets from 0 in the order in which windows first show them.

    So a batch of snippets is the same whether a run was interrupted or not.
    """

    def __init__(self) -> None:
        self.count = 0
        self.known: dict[Snippet, int] = {}  # those that later windows may show too

    def number(self, begin: int, snippets: Sequence[Snippet]) -> list[int]:
        """The numbers of the snippets of the next window, which begins at frame `begin`."""
        for snippet in snippets:
            if snippet not in self.known:
                self.known[snippet] = self.count
                self.count += 1
        numbers = [self.known[snippet] for snippet in snippets]
        # No later window begins earlier.
        self.known = {snippet: n for snippet, n in self.known.items() if snippet[0] >= begin}
        return numbers


class Window(NamedTuple):
    """A window: its number from 0, and its first frame and the one behind its last."""

    number: int
    begin: int
    end: int


def windows_without_repeated(
    seen: Sequence[int], frames: int, *, window: int, stride: int, least: int
) -> list[tuple[int, int]]:
    """The windows of `window_grid`, where some frames were left out: which of those that are left.

    A window begins with the frame that is still shown then, as it would were it cut out.

    frames 0 1 - - 4 5, window 3, stride 1: (0, 2) (1, 2) (1, 3) (1, 4)

    Args:
        seen: numbers of the frames that are left, the first of them 0.
        frames: with those that were left out.
        least: frames that a window has, though it shows fewer: so that there is flow.
    """
    grid = np.array(window_grid(frames, window=window, stride=stride))
    begins = np.searchsorted(seen, grid[:, 0], side="right") - 1
    ends = np.minimum(np.maximum(np.searchsorted(seen, grid[:, 1]), begins + least), len(seen))
    begins = np.maximum(0, np.minimum(begins, ends - least))
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


class StreamScorer:
    """Takes the windows of a video through one network, their snippets in batches.

    Args:
        first: number of the first window that is wanted; earlier ones are known.
        irregular: where windows lie that are not `window` frames every `stride`.
        as_features: see `WindowPass`.

    Attributes:
        needs_from: the first frame that it needs.
        forwarded: snippets that went through the network.
    """

    def __init__(
        self,
        stream: Stream,
        runtime: Runtime,
        *,
        window: int,
        stride: int,
        first: int = 0,
        irregular: Sequence[tuple[int, int]] = (),
        as_features: bool = False,
    ) -> None:
        self.network, self.protocol = stream.network.eval(), stream.protocol
        self.modality, self.size = stream.spec.modality, stream.spec.input_size
        self.stride = None if irregular else stride
        self.runtime, self.first, self.as_features = runtime, first, as_features
        self.forwarded = 0
        self.batch_size = max(1, runtime.views_per_forward // self.protocol.num_crops)
        self._order = SnippetOrder()
        self._clips: NDArray[np.uint8] | None = None
        self._batch: list[int] = []  # the numbers of the snippets in it
        self._features: dict[int, Tensor] = {}  # (R, D) of snippets
        self._waiting: deque[tuple[Window, list[int]]] = deque()
        # What an earlier run has scored is numbered again, without a look at it: snippets that
        # windows to come may share were in a batch, which is made again as it was.
        order, firsts = SnippetOrder(), list[int]()
        regular = ((n * stride, n * stride + window) for n in range(self.first))
        begin = 0
        for number, (begin, end) in enumerate(islice(irregular or regular, self.first)):
            snippets = self._snippets(Window(number, begin, end))
            for of_snippet, snippet in zip(order.number(begin, snippets), snippets, strict=True):
                if of_snippet == len(firsts):
                    firsts.append(snippet[0])
        least = min(order.known.values(), default=order.count)
        self._first_snippet = least // self.batch_size * self.batch_size
        self.needs_from = min([begin, *firsts[self._first_snippet :]])

    def _snippets(self, window: Window, frames: int | None = None) -> list[Snippet]:
        length = window.end - window.begin - self.modality.sees_flow
        stride = self.stride or length  # the snippets of irregular windows lie on no grid
        protocol = window_protocol(self.protocol, self.modality, length=length, stride=stride)
        starts = protocol.snippet_starts(length, **self.modality.sampling)
        indices = snippet_indices(starts, length=length, **self.modality.sampling)
        last = inf if frames is None else frames - 1 - self.modality.sees_flow
        return [
            tuple(int(min(max(0, window.begin + index), last)) for index in snippet)
            for snippet in indices
        ]

    def add(
        self, window: Window, buffer: PictureSource, *, frames: int | None = None
    ) -> Iterator[tuple[Window, NDArray]]:
        """Take the next window, whose frames are in the buffer; yield what has become ready.

        Args:
            frames: of the video, where the window may go beyond them: it has the first and the last
                again there.

        Yields:
            Windows in their order, and the logits (S, R, classes) of each, or features (D,).
        """
        snippets, before = self._snippets(window, frames), self._order.count
        numbers = self._order.number(window.begin, snippets)
        fresh = {n: s for n, s in zip(numbers, snippets, strict=True) if n >= before}
        if window.number >= self.first:
            self._waiting.append((window, numbers))
        if self._clips is None:
            shape = views_shape(self.modality, self.protocol, size=self.size)
            self._clips = np.empty((self.batch_size, *shape), np.uint8)
            self._pictures = resized_pictures(SharedPictures(buffer), self.modality)
        views = self.protocol.views(*(self.modality.frame_size or buffer.size))
        for number, snippet in fresh.items():
            if number < self._first_snippet:
                continue
            place = self._clips[len(self._batch)][None]
            write_snippets(self._pictures, [snippet], views, place, modality=self.modality)
            self._batch.append(number)
            if len(self._batch) == self.batch_size:
                self._forward()
        yield from self._ready()

    def finish(self) -> Iterator[tuple[Window, NDArray]]:
        """Take the last, incomplete batch; yield the windows that are left."""
        if self._batch:
            self._forward()
        yield from self._ready()

    def _forward(self) -> None:
        assert self._clips is not None
        clips = torch.from_numpy(self._clips[: len(self._batch)]).flatten(0, 1)
        with torch.inference_mode(), self.runtime.autocast():
            features = self.network.features(clips[:, None].to(self.runtime.device))
        by_snippet = features.reshape(len(self._batch), -1, features.shape[-1])
        self._features |= zip(self._batch, by_snippet, strict=True)
        self.forwarded += len(self._batch)
        self._batch = []
        beat()

    def _ready(self) -> Iterator[tuple[Window, NDArray]]:
        emitted = False
        while self._waiting and all(n in self._features for n in self._waiting[0][1]):
            window, numbers = self._waiting.popleft()
            features = torch.stack([self._features[n] for n in numbers], dim=1)  # (R, S, D)
            if self.as_features:
                result = features.float().mean(dim=(0, 1))
            else:
                with torch.inference_mode(), self.runtime.autocast():
                    result = self.network.classifier(features).transpose(0, 1).float()
            yield window, result.cpu().numpy()
            emitted = True
        if emitted:
            needed = set(self._order.known.values()).union(*(n for _, n in self._waiting))
            self._features = {n: f for n, f in self._features.items() if n in needed}


@dataclass
class WindowPass:
    """One pass over a video: iterate over it, once, for the scores of its windows.

        for key, window, logits in WindowPass(video, streams, ...): ...

    Attributes:
        streams: those that see frames and flow of the same settings, by name.
        first: number of the first window that is wanted of a stream; earlier ones are known.
        as_features: yield features (D,), the mean over snippets and crops, instead of logits; no
            window is added at the end, so that they lie on a regular grid.
        centred: window k has its middle at frame k * stride, for all such frames; beyond both ends
            are the first and the last frame again.
        fps: frames per second; known once the video is open.
        frames: that it has; known at the end. `decoded`: with those that were left out.
        damage: what was lost of the video, in one line; likewise.
        most_held: the most frames that were in memory at one time, but for those that are just
            being computed.
        forwarded: snippets that went through each network.
        seconds: of `decode` and `flow`, added up over threads.
    """

    video: Path
    streams: Mapping[str, Stream]
    window: Span
    stride: Span
    runtime: Runtime
    first: Mapping[str, int] = field(default_factory=dict)
    as_features: bool = False
    centred: bool = False
    fps: float = 0.0
    frames: int = 0
    decoded: int = 0
    damage: str | None = None
    most_held: int = 0
    forwarded: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "flow": 0.0})
    _seconds: Sequence[float] = ()  # when each frame is shown
    _grid: list[tuple[int, int]] = field(default_factory=list)  # where frames were left out

    def times(self, window: Window) -> tuple[float, float]:
        """Where a window begins and ends, in seconds; frames that were left out have their time.

        From when its first frame is shown to when the next one after its last would be.
        """
        begin, end = self._grid[window.number] if self._grid else window[1:]
        first, last = begin / self.fps, (end - 1) / self.fps
        if self._seconds:
            first, shown = self._seconds[begin], self._seconds[end - 1]
            if shown != last:
                return first, shown + 1 / self.fps
        return first, end / self.fps

    def __iter__(self) -> Iterator[tuple[str, Window, NDArray[np.float32]]]:
        """Yield name of the stream, window, and its logits (S, R, classes), or features (D,).

        The windows of a stream come in their order.

        Raises:
            VideoError: it gives no frames, or no flow.
            InputError: a window is too short for flow.
        """
        import cv2

        cv2.setNumThreads(1)  # parts of the video are computed side by side
        settings = next(iter(self.streams.values())).settings
        dropping = settings.get("drop_repeated", False)
        with open_video(
            self.video, short_side=settings["short_side"], drop_repeated=dropping
        ) as video:
            self._seconds = video.seconds
            self.fps = video.info.fps or DEFAULT_FPS
            window, stride = self.window.frames(self.fps), self.stride.frames(self.fps)
            before = window // 2 if self.centred else 0
            with_flow = any(stream.sees_flow for stream in self.streams.values())
            if with_flow and window < 2:
                raise InputError(
                    f"--window {self.window} is {window} frame of {self.video}, which has no flow; "
                    "give 2 frames or more"
                )
            irregular: list[tuple[int, int]] = []
            if dropping and not self.as_features:
                # Windows are of time, and how many frames are left of one is known at its end.
                seen = array("q")
                with open_video(self.video, drop_repeated=True) as unseen:
                    for _ in unseen:
                        seen.append(unseen.decoded - 1)
                    if with_flow and len(seen) < 2:
                        raise VideoError(NO_FLOW)
                    self._seconds = unseen.seconds
                    self._grid = window_grid(unseen.decoded, window=window, stride=stride)
                    irregular = windows_without_repeated(
                        seen, unseen.decoded, window=window, stride=stride, least=1 + with_flow
                    )

            def bounds(number: int) -> tuple[int, int]:
                if irregular:
                    return irregular[number]
                begin = number * stride - before
                return begin, begin + window

            scorers = {
                key: StreamScorer(
                    stream,
                    self.runtime,
                    window=window,
                    stride=stride,
                    first=self.first.get(key, 0),
                    irregular=irregular,
                    as_features=self.as_features,
                )
                for key, stream in self.streams.items()
            }
            skipped, clips = encode_video(
                video,
                settings,
                method=recorded_method(settings, None) if with_flow else None,
                threads=self.runtime.threads,
                seconds=self.seconds,
                skip=min(scorer.needs_from for scorer in scorers.values()),
            )
            buffer = FrameBuffer(settings["codec"], begin=skipped)
            number, count = 0, len(irregular) or inf

            def scored(
                begin: int, end: int, frames: int | None = None, *, last: bool = False
            ) -> Iterator[tuple[str, Window, NDArray[np.float32]]]:
                for key, scorer in scorers.items():
                    # Where the last window is known too, none follows for which it would be
                    # numbered; and it lies beside the grid on which the scorer has numbered it.
                    if last and number < scorer.first:
                        continue
                    for each, scores in scorer.add(
                        Window(number, begin, end), buffer, frames=frames
                    ):
                        yield key, each, scores

            for clip in clips:
                buffer.add(clip)
                here = buffer.end("rgb")
                if with_flow:
                    here = min(here, buffer.end("flow") + 1)
                while number < count and bounds(number)[1] <= here:
                    yield from scored(*bounds(number))
                    number += 1
                buffer.drop_before(here - window)
                self.most_held = max(self.most_held, buffer.most)
            self.frames, self.damage = buffer.end("rgb"), video.damage
            self.decoded = video.decoded if dropping else self.frames
            if not any(buffer.size):  # all windows are known: nothing lies behind the last one
                self.forwarded = dict.fromkeys(scorers, 0)
                return
            if with_flow and self.frames < 2:
                raise VideoError(NO_FLOW)
            if self.centred:
                while number * stride < self.frames:
                    yield from scored(*bounds(number), self.frames)
                    number += 1
            elif not irregular and (
                number == 0 or (bounds(number - 1)[1] < self.frames and not self.as_features)
            ):
                yield from scored(max(0, self.frames - window), self.frames, last=True)
            for key, scorer in scorers.items():
                for each, logits in scorer.finish():
                    yield key, each, logits
                self.forwarded[key] = scorer.forwarded
