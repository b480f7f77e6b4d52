"""Sources of frames that go on: a camera, an address, or a file in real time; their recording."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain, count
from pathlib import Path

import numpy as np

from flow_extract.display.show import DEFAULT_FPS
from flow_extract.video.decode import VideoError, open_video
from flow_extract.video.frames import MAX_PIXELS, resize
from twostream_base.errors import InputError

SCHEMES = ("udp://", "rtsp://", "rtsps://")
# What FFmpeg may open for such an address, and nothing else: neither files nor web pages.
PROTOCOLS = "udp,rtp,rtsp,tcp,tls,crypto"
OPEN_SECONDS, SILENCE_SECONDS = 10.0, 5.0  # without a frame the source counts as lost
FF_QP2LAMBDA = 118  # FFmpeg's unit of quality
JUMP_SECONDS = 1.0  # from a frame to the next, by the source's clock: more means that some are lost
MAX_FPS = 1000.0  # what reports more reports its clock

# Of each frame its picture, the rate, and the source's clock in seconds; None: it tells none.
Frames = Iterator[tuple[np.ndarray, float | None, float | None]]


def frame_rate(reported: float | None) -> float:
    """Frames a second of a source that reports this rate, its clock's or none."""
    return reported if reported and reported <= MAX_FPS else DEFAULT_FPS


def open_source(source: str) -> tuple[Callable[[], Frames], bool]:
    """What yields a source's frames, uint8 (H, W, 3) RGB, their rate and time, each time anew.

    Args:
        source: number of a camera, a video file, or an address of `SCHEMES`.

    Returns:
        The function, and whether the source is worth another try when it ends.

    Raises:
        InputError: none of these.
    """
    if source.isdecimal():
        return lambda: camera_frames(int(source)), True
    if source.startswith(SCHEMES):
        return lambda: address_frames(source), True
    if Path(source).is_file():
        return lambda: file_frames(Path(source)), False
    raise InputError(
        f"--live {source}: no camera number, no file, and no address of {', '.join(SCHEMES)}"
    )


def camera_frames(number: int) -> Frames:
    """The frames of a camera of this machine."""
    import cv2

    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise VideoError(f"camera {number} cannot be opened")
        while True:
            there, frame = camera.read()
            if not there:
                raise VideoError(f"camera {number} gives no more frames")
            yield frame[..., ::-1], camera.get(cv2.CAP_PROP_FPS) or None, None
    finally:
        camera.release()


def file_frames(path: Path) -> Frames:
    """The frames of a file, each at its time."""
    with open_video(path) as video:
        fps, began = video.info.fps or DEFAULT_FPS, time.monotonic()
        for number, frame in enumerate(video):
            time.sleep(max(0.0, began + number / fps - time.monotonic()))
            yield frame, fps, number / fps


def address_frames(address: str) -> Frames:
    """The frames that are sent to or from a UDP or RTSP address."""
    import av

    stream = None
    try:
        with av.open(
            address,
            "r",
            options={"protocol_whitelist": PROTOCOLS},
            timeout=(OPEN_SECONDS, SILENCE_SECONDS),
        ) as container:
            if not container.streams.video:
                raise VideoError("has no video stream")
            stream = container.streams.video[0]
            rate, before = stream.average_rate or stream.guessed_rate, None
            for frame in container.decode(stream):
                if frame.width * frame.height > MAX_PIXELS:
                    raise VideoError(f"{frame.width} x {frame.height} pixels a frame are too many")
                # Another sender has taken its place, or frames were lost on the way.
                if before is not None and frame.time is not None:
                    jump, longest = frame.time - before, max(JUMP_SECONDS, 3 / float(rate or 25))
                    if abs(jump) > longest:
                        raise VideoError(f"the clock of its frames jumps by {jump:+.1f} s")
                before = frame.time
                picture = frame.to_ndarray(format="rgb24")
                yield picture, float(rate) if rate else None, frame.time
    except av.error.ExitError as error:
        silence = OPEN_SECONDS if stream is None else SILENCE_SECONDS
        raise VideoError(f"nothing has come for {silence:g} s") from error
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(str(error.strerror or error)) from error


def recorded(frames: Callable[[], Frames], path: Path) -> Callable[[], Frames]:
    """The same frames, which are written to a file as they come: Matroska, MPEG-4 part 2.

    Each connection has a file of its own, as its rate and size may differ and time has gone by:
    FILE.mkv, FILE-2.mkv and so on, none of which was there before. What is written of a file can be
    read at any moment. Each frame has its time, to the millisecond, by the source's clock, or when
    it came where there is none: so pauses and lost frames take as long in it as they took.
    """

    def of_connection() -> Frames:
        import av

        stream = out = None
        began, last = 0.0, -1
        try:
            for frame, fps, seconds in frames():
                now = time.monotonic() if seconds is None else seconds
                if out is None:
                    began = now
                    names = (path.with_stem(f"{path.stem}-{n}") for n in count(2))
                    file = next(f for f in chain([path], names) if not f.exists())
                    out = av.open(str(file), "w", options={"cluster_time_limit": "1000"})
                    rate = Fraction(frame_rate(fps)).limit_denominator(1001)
                    stream = out.add_stream("mpeg4", rate=rate)
                    stream.codec_context.time_base = Fraction(1, 1000)
                    stream.width, stream.height = (side - side % 2 for side in frame.shape[1::-1])
                    stream.pix_fmt = "yuv420p"
                    stream.options = {"flags": "+qscale", "global_quality": str(3 * FF_QP2LAMBDA)}
                assert stream
                picture = np.ascontiguousarray(resize(frame, (stream.width, stream.height)))
                coded = av.VideoFrame.from_ndarray(picture, format="rgb24")
                coded.pts = last = max(last + 1, round(1000 * (now - began)))
                coded.time_base = Fraction(1, 1000)
                out.mux(stream.encode(coded))
                yield frame, fps, seconds
        finally:
            if out is not None:
                assert stream
                out.mux(stream.encode(None))
                out.close()

    return of_connection
