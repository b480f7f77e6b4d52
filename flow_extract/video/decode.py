"""Decoding videos: the frames of a file one by one, and whether all of them were there."""

from __future__ import annotations

import io
import math
import stat
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from flow_extract.video.frames import MAX_PIXELS, FrameSource, VideoError, VideoInfo
from flow_extract.video.pictures import PictureVideo
from twostream_base.heartbeat import beat

READ_SIZE = 2**18  # bytes that are read from a file at one time
# Formats of FFmpeg that open other files, URLs or devices than the one that they are given, or that
# are programs (of Avisynth, VapourSynth); which of them there are differs from build to build.
INDIRECT = {
    "alsa", "avfoundation", "avisynth", "concat", "dash", "dshow", "fbdev", "gdigrab", "hls",
    "image2", "imf", "kmsgrab", "lavfi", "oss", "rtp", "rtp_mpegts", "rtsp", "sap", "sdp",
    "vapoursynth", "vfwcap", "video4linux2,v4l2", "vobsub", "webm_dash_manifest", "x11grab",
    "xcbgrab",
}  # fmt: skip
PLAYLISTS = {b"ffconcat": "an ffconcat list", b"#EXTM3U": "an m3u8 playlist"}
# Formats whose header tells when the last of all streams ends.
TIMED = {"matroska,webm", "flv", "asf"}
# A packet of MPEG-4 part 2 that only repeats a frame has no more bytes; the bit of a VP8 packet's
# first byte that says whether its frame is shown.
NOT_CODED, VP8_SHOWN = 15, 0x10
# Formats of pixels whose first plane is their brightness, in 8 bits.
BRIGHTNESS_FIRST = {
    "gray", "nv12", "yuv410p", "yuv411p", "yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuva420p",
    "yuvj411p", "yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p",
}  # fmt: skip
# How files begin whose outermost elements tell their size: AVI, Matroska and WebM; and at byte 4
# the first box of MP4 and MOV.
AVI, EBML = b"RIFF", b"\x1a\x45\xdf\xa3"
# Bytes from one mark of MPEG-TS to the next, and where the first one is: broadcast, and on discs.
TS_MARK, TS_PACKETS = b"\x47", ((188, 0), (192, 4))
# The most bytes that a page of Ogg has, and the bit of its flags that marks the last one.
OGG_PAGE, OGG_END = 27 + 255 + 255 * 255, 4
# From a frame to the next, seconds; beyond the longest one its time is not believed.
LEAST_STEP, LONGEST_STEP, DEFAULT_RATE = 1e-3, 3600.0, 25.0
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def probe(path: str | PathLike[str]) -> VideoInfo:
    """Read a video's header and first frame; of a folder of pictures the first one.

    Raises:
        VideoError: as `open_video`.
    """
    with open_video(path) as video:
        return video.info


def why_no_video(path: str | PathLike[str]) -> str:
    """Why a file is no video, by its content; empty if it is. No frame of it is decoded."""
    try:
        with open_stream(Path(path)):
            return ""
    except VideoError as error:
        unknown = isinstance(error.__cause__, FFmpegError)
        return "no video by its content" if unknown else str(error)


def read_frames(
    path: str | PathLike[str], *, short_side: int | None = None, drop_repeated: bool = False
) -> Iterator[np.ndarray]:
    """Decode a video frame by frame: uint8 (H, W, 3) RGB, upright.

    Colours are converted by the matrix and range that the video declares; where it declares none,
    by those of BT.601, in the range of television. A frame of another size than the first is
    resized to it, as players do.

    Args:
        path: the video file, or a folder of numbered pictures (see `pictures.PictureVideo`).
        short_side: resize so that the shorter side has this many pixels (see `scaled_size`).
        drop_repeated: leave out frames that repeat the one before (see `repeats`).

    Raises:
        VideoError: as `open_video`.
    """
    with open_video(path, short_side=short_side, drop_repeated=drop_repeated) as video:
        yield from video


@contextmanager
def open_video(
    path: str | PathLike[str], *, short_side: int | None = None, drop_repeated: bool = False
) -> Iterator[Video | PictureVideo]:
    """Open a video whose frames come as in `read_frames`.

    Raises:
        VideoError: not a regular file, empty, not readable as a video, a playlist of other files,
            without a video stream, more than `MAX_PIXELS` pixels a frame (found before a frame is
            decoded), or no frame can be decoded; or a folder as `PictureVideo` refuses it.
    """
    if not Path(path).is_dir():
        with open_stream(Path(path)) as (file, container, stream):
            yield Video(file, container, stream, short_side=short_side, drop_repeated=drop_repeated)
        return
    yield PictureVideo(Path(path), short_side=short_side, drop_repeated=drop_repeated)


@contextmanager
def open_stream(path: Path) -> Iterator[tuple[BinaryIO, InputContainer, VideoStream]]:
    """Open a file and its first video stream, but a cover picture.

    FFmpeg reads from the open file, and opens nothing by itself.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise VideoError("not a regular file")
        if status.st_size == 0:
            raise VideoError("the file is empty (0 bytes)")
        file = path.open("rb")
    except OSError as error:
        raise VideoError(f"cannot be read: {error.strerror}") from error
    with file:
        try:
            beginning = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
            for start, playlist in PLAYLISTS.items():
                if beginning.startswith(start):
                    raise VideoError(f"{playlist} of other files is no video; give these files")
            file.seek(0)
            # Tags need not be text; PyAV 19 has no option for what to do about it any more.
            has_option = int(av.__version__.partition(".")[0]) < 19
            tags: dict[str, Any] = {"metadata_errors": "replace"} if has_option else {}
            container = av.open(
                file,
                "r",
                options={"format_whitelist": direct_formats()},
                buffer_size=READ_SIZE,
                **tags,
            )
        except FFmpegError as error:
            raise VideoError(
                "not readable as a video: damaged at its beginning, or of an unknown format"
            ) from error
        except OSError as error:
            raise VideoError(f"cannot be read: {error.strerror}") from error
        with container:
            cover = av.stream.Disposition.attached_pic
            streams = [each for each in container.streams.video if not each.disposition & cover]
            if not streams:
                raise VideoError("has no video stream")
            yield file, container, streams[0]


@cache
def direct_formats() -> str:
    """The formats that FFmpeg may look for in a file, as it wants them."""
    return ",".join(sorted(av.formats_available - INDIRECT))


def decoder_version() -> str:
    """Which FFmpeg decodes, by the version of its codec library."""
    return "FFmpeg avcodec " + ".".join(map(str, av.library_versions["libavcodec"]))


class Video(FrameSource):
    """An open video: iterate over it, once, for its frames.

    Attributes:
        info: what is known of it.
        promised: frames that the packets read so far are to give. An empty packet gives none, it
            repeats a frame; nor does one that an edit list hides, it serves to decode others.
        decoded: frames that they have given.
        repeated, seconds: as of `FrameSource`; times rise by a millisecond or more.
        damage: what was lost, in one line; None if nothing, or before the last frame.
        decoder: what decodes it, with version.
    """

    def __init__(
        self,
        file: BinaryIO,
        container: InputContainer,
        stream: VideoStream,
        *,
        short_side: int | None,
        drop_repeated: bool,
    ) -> None:
        context = stream.codec_context
        if context is None:
            raise VideoError("FFmpeg has no decoder for its video stream")
        if context.width * context.height > MAX_PIXELS:
            raise VideoError(
                f"{context.width} x {context.height} pixels a frame; "
                f"at most {MAX_PIXELS:,} are read"
            )
        context.thread_count = 1
        self._reformatter = VideoReformatter()
        self._file, self._container, self._stream, self._context = file, container, stream, context
        self._rate = stream.average_rate or stream.guessed_rate
        self._indexed = len(stream.index_entries) if container.format.name == "avi" else 0
        self._first_key: int | None = None
        self._packets = self._bad_packets = self._may_lack = 0
        # Whether each packet that only repeats a frame gave one. In a packed stream it does:
        # what an earlier packet held besides its own.
        self._repeats: list[bool] = []
        self._ends: dict[int, int] = {}  # stream -> end of its last packet, in its time base
        self._matrix: Any = None  # how a frame is turned for display
        self.decoder = decoder_version()
        self.promised = self.decoded = 0
        self.seconds: array[float] = array("d")
        self._first_seconds: float | None = None
        self.damage: str | None = None

        size = self._begin(self._decode_all(), short_side=short_side, drop_repeated=drop_repeated)
        if size is None:
            raise VideoError(f"no frame can be decoded (codec {context.codec.canonical_name})")
        height, width = size
        seconds = (container.duration or 0) / 1e6
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        self.info = VideoInfo(
            width,
            height,
            fps=float(self._rate) if self._rate else None,
            num_frames=stream.frames or round(seconds * (self._rate or 0)) or None,
            codec=context.codec.canonical_name,
        )

    def _decode_all(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All frames, upright, in their own size, and their brightness as it was decoded."""
        try:
            for packet in self._container.demux():
                if not packet.size:  # a repeated frame, or the end of a stream
                    continue
                index, shown = packet.stream_index, packet.pts
                if shown is not None:
                    self._ends[index] = max(
                        self._ends.get(index, 0), shown + (packet.duration or 0)
                    )
                if index == self._stream.index:
                    yield from self._decode(packet)
        except FFmpegError:
            self._bad_packets += 1  # what follows in the file cannot be found
        except OSError as error:
            raise VideoError(f"cannot be read: {error.strerror}") from error
        yield from self._decode(None)
        if not any(self._repeats):
            self._may_lack += len(self._repeats)
        missing = max(self.promised, self._indexed) - self.decoded
        self.promised = self.decoded + max(0, missing - self._may_lack)
        try:
            self.damage = self._find_damage()
        except OSError as error:
            raise VideoError(f"cannot be read: {error.strerror}") from error

    def _decode(self, packet: Packet | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The frames that a packet completes; None: those that the decoder has held back."""
        may_lack = repeats = False
        if packet:
            self._packets += 1
            self.promised += not packet.is_discard
            codec = self._context.codec.canonical_name
            hidden = codec == "vp8" and not bytes(packet)[0] & VP8_SHOWN
            may_lack = hidden or self._is_leading(packet)
            self._may_lack += may_lack
            repeats = codec == "mpeg4" and packet.size <= NOT_CODED
        try:
            frames = self._context.decode(packet)
        except FFmpegError:
            self._bad_packets += not may_lack
            return
        if packet and packet.is_corrupt:
            self._bad_packets += 1  # the file ends within it
        if repeats:
            self._repeats.append(bool(frames))
        for frame in frames:
            if not self.decoded:
                self._matrix = frame.side_data.get("DISPLAYMATRIX")
            base = self._stream.time_base  # the decoder's own is another for the last frames
            self._note_time(float(frame.pts * base) if base and frame.pts is not None else None)
            self.decoded += 1
            beat()
            rgb = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
            brightness = rgb
            if frame.format.name in BRIGHTNESS_FIRST:
                plane = frame.planes[0]
                rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
                brightness = rows[: frame.height, : frame.width]
            yield rgb if self._matrix is None else upright(rgb, self._matrix), brightness

    def _note_time(self, shown: float | None) -> None:
        """Note when the next frame is shown: by its number, where its own time is about the same.

        So it is exact where the rate is constant; and right where it varies, or frames are missing.
        """
        rate = float(self._rate or DEFAULT_RATE)
        regular, last = self.decoded / rate, self.seconds[-1] if self.seconds else -LEAST_STEP
        if shown is not None and self._first_seconds is None:
            self._first_seconds = shown - regular
        seconds = regular if shown is None else shown - (self._first_seconds or 0.0)
        if abs(seconds - regular) < 0.5 / rate:
            seconds = regular
        elif not last < seconds < last + LONGEST_STEP:
            seconds = last + 1 / rate
        self.seconds.append(max(seconds, last + min(LEAST_STEP, 0.5 / rate)))

    def _find_damage(self) -> str | None:
        losses = []
        if self.decoded < self.promised:
            losses.append(f"{self.decoded} of {self.promised} frames decoded")
        elif self._bad_packets:
            losses.append(f"{self._bad_packets} of {self._packets} packets do not decode")
        declared, size = declared_size(self._file), self._file.seek(0, io.SEEK_END)
        seconds, listed = (self._container.duration or 0) / 1e6, self._stream.frames
        ends = [
            float(end * base)
            for index, end in self._ends.items()
            if (base := self._container.streams[index].time_base)
        ]
        end = max(ends, default=0.0)
        if declared and size < declared:
            losses.append(f"the file ends early, after {size:,} of {declared:,} bytes")
        elif lacks_end(self._file):
            losses.append(
                f"the file ends early, after {size:,} bytes: the mark of its end is missing"
            )
        elif self._container.format.name in TIMED and end < seconds - max(0.2, seconds / 100):
            losses.append(f"the file ends early, after {end:.2f} of {seconds:.2f} s")
        elif "mp4" in self._container.format.name and self._packets < listed and self._lacks_time():
            losses.append(f"{self._packets} of {listed} packets found")
        return "; ".join(losses) or None

    def _lacks_time(self) -> bool:
        """Whether the stream ends over a frame before its time: an edit list cut nothing off."""
        duration, base, rate = self._stream.duration, self._stream.time_base, self._rate
        if not (duration and base and rate):
            return False
        end = self._ends.get(self._stream.index, 0)
        return end * base < duration * base - Fraction(3, 2) / rate

    def _is_leading(self, packet: Packet) -> bool:
        """Whether it refers to frames before the beginning of a video that was cut there.

        Such is what comes before the first key frame, and what is shown before it though it comes
        later; players leave it out.
        """
        if self._first_key is None and packet.is_keyframe:
            self._first_key = packet.pts if packet.pts is not None else packet.dts
        if self._container.format.name == "avi":  # an index tells, which may be wrong
            return False
        if self._first_key is None:
            return True
        return packet.pts is not None and packet.pts < self._first_key


def upright(frame: np.ndarray, matrix: Any) -> np.ndarray:
    """A frame (H, W, C) turned and mirrored as the nine numbers of a display matrix say."""
    # A pixel (x, y) is shown at (a x + c y, b x + d y).
    (a, b, _), (c, d, _), _ = np.frombuffer(matrix, np.int32).reshape(3, 3).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        frame, a, d = frame.swapaxes(0, 1), c, b
    return np.ascontiguousarray(frame[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def read_at(file: BinaryIO, place: int, length: int) -> bytes:
    """Bytes of a file from a place on; fewer where it ends."""
    file.seek(place)
    return file.read(length)


def declared_size(file: BinaryIO) -> int | None:
    """Bytes of a file by what its outermost elements say; None if they do not.

    Known of AVI (RIFF chunks), of MP4 and MOV (boxes), and of Matroska and WebM (EBML elements);
    and of MPEG-TS, whose packets have one size.
    """

    read = partial(read_at, file)

    beginning, end = read(0, 8), 0
    if beginning[:4] == AVI:
        while (chunk := read(end, 8))[:4] == AVI:
            size = int.from_bytes(chunk[4:], "little")
            if size == 0:  # a recorder that was not closed
                return None
            end += 8 + size
        return end - 8  # some writers count these eight bytes twice
    if beginning[4:] in MP4_BOXES:
        kind = b""
        while box := read(end, 16):
            if len(box) >= 8 and not box[4:8].isalnum():  # something else behind the boxes
                return None
            size, kind = int.from_bytes(box[:4], "big"), box[4:8]
            if size == 1:
                size = int.from_bytes(box[8:], "big")
            if len(box) >= 8 and size < 8:  # 0: up to the end of the file
                return None
            end += max(size, 8)
        return end + 8 * (kind == b"moof")  # the media that a fragment announces
    if beginning[:4] == EBML:
        for id_length in (4, 4):  # the header, then the segment that holds all else
            element = read(end, id_length + 8)[id_length:]
            length = 9 - element[0].bit_length() if element else 0
            size = int.from_bytes(element[:length], "big") & ((1 << 7 * length) - 1)
            if size == (1 << 7 * length) - 1:  # unknown, as in a broadcast
                return None
            end += id_length + length + size
        return end
    for packet, first in TS_PACKETS:
        if all(read(first + number * packet, 1) == TS_MARK for number in range(4)):
            return math.ceil(file.seek(0, io.SEEK_END) / packet) * packet
    return None


def lacks_end(file: BinaryIO) -> bool:
    """Whether a GIF lacks the mark of its end, or an Ogg file that of its last page."""

    read = partial(read_at, file)

    def colours(flags: int) -> int:  # bytes of the colour table that they announce
        return 3 * 2 ** (1 + flags % 8) if flags & 128 else 0

    beginning = read(0, 13)
    if beginning[:4] == b"OggS":
        tail = read(max(0, file.seek(0, io.SEEK_END) - OGG_PAGE), OGG_PAGE)
        page = tail[max(0, tail.rfind(b"OggS")) :]
        segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
        whole = bool(segments) and len(page) >= 27 + len(segments) + sum(segments)
        return not (whole and page[5] & OGG_END)
    if beginning[:3] == b"GIF" and len(beginning) == 13:
        place = 13 + colours(beginning[10])
        while (block := read(place, 10)) and block[0] != ord(";"):
            if block[0] not in b"!," or (block[0] == ord(",") and len(block) < 10):
                break
            # An extension and its kind; or a picture's place, colours and size of codes.
            place += 2 if block[0] == ord("!") else 11 + colours(block[9])
            while (length := read(place, 1)) and length != b"\0":
                place += 1 + length[0]
            place += 1
        return not block
    return False
