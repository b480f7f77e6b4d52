"""Containers and codecs as they come: each sound file is whole, each cut one is not."""

import errno
import io

import av
import numpy as np
import pytest

from flow_extract.video.decode import VideoError, open_video, probe, read_frames, why_no_video

FRAMES, SIZE, RATE = 30, (48, 64), 25


def picture(number):
    """A bright bar on grey that is four pixels further right in each frame."""
    frame = np.full((*SIZE, 3), 90, np.uint8)
    frame[:, 4 * number % SIZE[1] :][:, :8] = 220
    return frame


def write(
    path,
    codec,
    *,
    sound=None,
    seconds=0.0,
    times=range(FRAMES),
    fmt=None,
    options=(),
    codec_options=(),
    **set_,
):
    """A film of as many pictures as there are times (in frames), and a sound track beside it.

    `set_` are attributes of the video stream, `options` those of the container.
    """
    fmt = fmt or {".ogv": "ogg", ".m2ts": "mpegts"}.get(path.suffix)
    with av.open(str(path), "w", format=fmt, options=dict(options)) as container:
        video = container.add_stream(codec, rate=RATE, options=dict(codec_options))
        video.height, video.width = SIZE
        video.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8", "apng": "rgb24"}.get(codec, "yuv420p")
        for key, value in set_.items():
            setattr(video, key, value)
        hertz = 48000 if sound == "libopus" else 44100
        audio = container.add_stream(sound, rate=hertz, layout="mono") if sound else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = time
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            size = audio.codec_context.frame_size
            for start in range(0, round(seconds * hertz), size):
                silence = av.AudioFrame(audio.format.name, "mono", samples=size)
                for plane in silence.planes:
                    plane.update(bytes(plane.buffer_size))
                silence.sample_rate, silence.pts = hertz, start
                container.mux(audio.encode(silence))
            container.mux(audio.encode(None))
    return path


def read(path):
    with open_video(path) as video:
        count = sum(1 for _ in video)
        return count, video.promised, video.damage


INTERLACED = {"flags": "+ildct+ilme", "field_order": "tt"}
CONTAINERS = {
    "mpeg4.avi": {},
    "mjpeg.avi": {},
    "huffyuv.avi": {"pix_fmt": "yuv422p"},
    "msmpeg4v2.avi": {},
    "libx264.mp4": {},
    "libx265.mp4": {},
    "libsvtav1.mp4": {},
    "mpeg4.3gp": {},
    "prores.mov": {"pix_fmt": "yuv422p10le"},
    "libx264.mkv": {},
    "ffv1.mkv": {},
    "libvpx.webm": {},
    "libvpx-vp9.webm": {},
    "libsvtav1.webm": {},
    "flv.flv": {},
    "libx264.ts": {},
    "mpeg2video.mpg": {},
    "mpeg1video.mpg": {},
    "wmv2.wmv": {},
    "gif.gif": {},
    "apng.apng": {},
    "wmv1.asf": {},
    "libvpx.ogv": {},
    "libx264.flv": {},
    "libx265.mkv": {"pix_fmt": "yuv420p10le"},
    "mpeg2video.m2ts": {},
    "mpeg2video.vob": {},
    "mpeg2video.mxf": {},
    "mpeg2video.ts": {"codec_options": INTERLACED},
    "libx264.mov": {"codec_options": {"x264-params": "tff=1"}},
    "qtrle.mov": {"pix_fmt": "rgb24"},
    "rawvideo.avi": {},
    "ffv1.nut": {},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_frames_of_all_containers(tmp_path, name):
    path = write(tmp_path / name, name.split(".")[0], **CONTAINERS[name])
    assert read(path) == (FRAMES, FRAMES, None)
    third = list(read_frames(path))[3].astype(int)
    assert np.abs(third - picture(3)).mean() < (20 if name == "gif.gif" else 12)  # few colours


SOUNDS = {
    "mp4": "aac", "mkv": "aac", "avi": "libmp3lame", "flv": "libmp3lame", "webm": "libopus",
    "ts": "aac", "mpg": "mp2", "vob": "mp2", "ogv": "flac",
}  # fmt: skip
VIDEO_CODECS = {
    "avi": "mpeg4", "flv": "flv", "webm": "libvpx", "ogv": "libvpx", "wmv": "wmv2",
    "mpg": "mpeg2video", "vob": "mpeg2video", "gif": "gif",
}  # fmt: skip


@pytest.mark.parametrize("seconds", [0.3, 5.0])
@pytest.mark.parametrize("suffix", SOUNDS)
def test_sound_may_be_shorter_or_longer(tmp_path, suffix, seconds):
    codec = VIDEO_CODECS.get(suffix, "libx264")
    path = write(tmp_path / f"v.{suffix}", codec, sound=SOUNDS[suffix], seconds=seconds)
    assert read(path) == (FRAMES, FRAMES, None)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.97])
@pytest.mark.parametrize(
    "name",
    [
        *("mpeg4.avi", "libx264.mkv", "libvpx.webm", "libx264.mp4", "fragmented.mp4", "flv.flv"),
        *("gif.gif", "libvpx.ogv", "libx264.ts", "mpeg2video.m2ts"),
    ],
)
def test_cut_files_are_damaged(tmp_path, name, share):
    codec, options = name.split(".")[0], {"movflags": "faststart"} if name.endswith("mp4") else {}
    if codec == "fragmented":
        codec, options = "libx264", {"movflags": "frag_every_frame+empty_moov"}
    path = write(tmp_path / name, codec, options=options)
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    try:
        count, _, damage = read(path)
    except VideoError:
        return
    assert count <= FRAMES
    assert damage


@pytest.mark.parametrize(
    "suffix", ["mkv", "webm", "mp4", "avi", "ts", "mpg", "wmv", "flv", "ogv", "gif"]
)
def test_times_may_vary_and_begin_late(tmp_path, suffix):
    codec = VIDEO_CODECS.get(suffix, "libx264")
    times = [10 + number * 2 + 7 * (number > 5) for number in range(20)]  # AVI: with empty chunks
    path = write(tmp_path / f"v.{suffix}", codec, times=times)
    assert read(path) == (20, 20, None)


def test_frames_hidden_by_an_edit_list_are_not_missed(tmp_path):
    """As a lossless cutter leaves them: ten frames before the cut are there to decode from."""
    path = write(tmp_path / "v.mp4", "libx264", bit_rate=100_000)
    with av.open(str(path)) as whole, av.open(str(tmp_path / "cut.mp4"), "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                shift = 10 * packet.duration
                packet.stream, packet.pts, packet.dts = (
                    stream,
                    packet.pts - shift,
                    packet.dts - shift,
                )
                cut.mux(packet)
    assert read(tmp_path / "cut.mp4") == (FRAMES - 10, FRAMES - 10, None)


def test_a_cut_may_begin_between_key_frames(tmp_path):
    path = write(tmp_path / "v.mkv", "libx264", gop_size=10)
    with av.open(str(path)) as whole, av.open(str(tmp_path / "cut.mkv"), "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if packet.dts is not None and number >= 4:
                packet.stream = stream
                cut.mux(packet)
    count, promised, damage = read(tmp_path / "cut.mkv")
    assert (count, damage) == (promised, None)
    assert 20 <= count <= 26


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), lambda frame: np.rot90(frame)),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
    ],
)
def test_frames_are_upright(tmp_path, matrix, turn):
    path = write(tmp_path / "v.mp4", "libx264")
    lying = next(read_frames(path))
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44  # a b u c d v x y w, 16.16 but u, v and w
    for offset, value in zip((0, 4, 12, 16), matrix, strict=True):
        data[place + offset : place + offset + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    np.testing.assert_array_equal(next(read_frames(path)), turn(lying))
    info = probe(path)
    assert (info.height, info.width) == turn(lying).shape[:2]


@pytest.mark.parametrize(("matrix", "red"), [("ITU601", 0.299), ("ITU709", 0.2126)])
@pytest.mark.parametrize("full", [False, True])
def test_colours_by_the_declared_matrix_and_range(tmp_path, matrix, red, full):
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"qp": "0"})
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        video.codec_context.colorspace = int(getattr(av.video.reformatter.Colorspace, matrix))
        video.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame(SIZE[1], SIZE[0], "yuv420p")
        for plane, value in zip(frame.planes, (120, 128, 190), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        container.mux(video.encode(frame))
        container.mux(video.encode(None))
    luma, chroma = (120 / 255, 62 / 255) if full else ((120 - 16) / 219, 62 / 224)
    frame = next(read_frames(tmp_path / "v.mp4"))
    assert abs(frame[0, 0, 0] - 255 * (luma + 2 * (1 - red) * chroma)) <= 2


def test_a_change_of_size_is_scaled_to_the_first(tmp_path):
    first = write(tmp_path / "a.ts", "mpeg2video", times=range(5))
    with av.open(str(tmp_path / "b.ts"), "w") as container:
        video = container.add_stream("mpeg2video", rate=RATE)
        video.height, video.width, video.pix_fmt = 96, 128, "yuv420p"
        for number in range(5):
            large = picture(number).repeat(2, axis=0).repeat(2, axis=1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
        container.mux(video.encode(None))
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + (tmp_path / "b.ts").read_bytes())
    frames = list(read_frames(both))
    assert len(frames) >= 9
    assert {frame.shape for frame in frames} == {(*SIZE, 3)}


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = *SIZE, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        container.mux(cover.encode(None))
    with pytest.raises(VideoError, match="no video stream"):
        probe(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ffconcat version 1.0\nfile 'other.avi'\n", "ffconcat"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.avi\n#EXT-X-ENDLIST\n", "m3u8"),
        ("\ufeff\n#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.avi\n", "m3u8"),
        ("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\n", "not readable"),
        (
            '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
            "not readable",
        ),
    ],
)
def test_playlists_are_refused(tmp_path, text, reason):
    write(tmp_path / "other.avi", "mpeg4")
    for name in ("list.avi", "list.m3u8", "list.ffconcat", "list.sdp", "list.mpd"):
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match=reason):
            probe(tmp_path / name)


@pytest.mark.parametrize("name", ["mpeg4.avi", "libx264.mkv", "libx264.mp4", "libvpx.webm"])
def test_no_mutated_file_passes_with_fewer_frames(tmp_path, name):
    """Any byte of an AVI but its header; of others a byte of a picture.

    Their own tables tell of nothing else: a block of Matroska whose mark is lost leaves a gap, as
    a pause does, and an edit list may hide any frame.
    """
    path = write(tmp_path / name, name.split(".")[0])
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        mutated = bytearray(data)
        for _ in range(3):
            position, size = packets[rng.integers(len(packets))]
            first, end = position + min(13, size - 1), position + size
            if name == "mpeg4.avi":
                first, end = 2000, len(data)
            mutated[rng.integers(first, end)] = rng.integers(256)
        path.write_bytes(mutated)
        try:
            count, _, damage = read(path)
        except VideoError:
            continue
        assert count == FRAMES or damage


def rewrite(source, target, change):
    """Copy the packets of a video; `change(number, bytes)` is what each holds then."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if packet.dts is not None:
                changed = av.Packet(change(number, bytes(packet)))
                changed.stream, changed.time_base = stream, packet.time_base
                changed.pts, changed.dts = packet.pts, packet.dts
                changed.is_keyframe = packet.is_keyframe
                copy.mux(changed)


def test_a_hidden_frame_of_vp8_is_not_missed(tmp_path):
    path = write(tmp_path / "v.webm", "libvpx")
    rewrite(
        path,
        tmp_path / "h.webm",
        lambda n, data: bytes([data[0] & ~16]) + data[1:] if n == 7 else data,
    )
    assert read(tmp_path / "h.webm") == (FRAMES - 1, FRAMES - 1, None)


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_a_repeated_frame_of_mpeg4_is_not_missed(tmp_path, suffix):
    path = write(tmp_path / f"v.{suffix}", "mpeg4")
    not_coded = bytes.fromhex("000001b656c0ff")  # P frame, vop_coded = 0
    rewrite(path, tmp_path / f"n.{suffix}", lambda n, data: not_coded if n == 7 else data)
    count, promised, damage = read(tmp_path / f"n.{suffix}")
    assert (count, damage) == (promised, None)


@pytest.mark.parametrize("place", [0, 64, 3000])
def test_a_disk_that_fails_is_a_reason_of_the_video(tmp_path, monkeypatch, place):
    path = write(tmp_path / "v.avi", "mjpeg")
    opened = type(path).open

    class Failing(io.FileIO):
        def readinto(self, buffer):
            if self.tell() + len(buffer) > place:
                raise OSError(errno.EIO, "Input/output error")
            return super().readinto(buffer)

    def open_failing(self, mode="r", *arguments, **options):
        if mode == "rb" and self == path:
            return io.BufferedReader(Failing(str(self)), 32)
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(type(path), "open", open_failing)
    with pytest.raises(VideoError, match="cannot be read: Input/output error"):
        read(path)
    assert why_no_video(path).startswith("cannot be read")
