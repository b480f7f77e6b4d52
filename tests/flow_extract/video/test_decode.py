import csv
import os
from array import array
from fractions import Fraction
from itertools import islice

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_extract.video.decode import Video, VideoError, VideoInfo, open_video, probe, read_frames
from flow_extract.video.frames import repeats, resize, scaled_size


def test_probe(make_video, tmp_path):
    path = make_video(tmp_path / "v.avi", frames=7, size=(48, 64))
    assert probe(path) == VideoInfo(64, 48, fps=25.0, num_frames=7, codec="mjpeg")


PLAYLISTS = {
    "ffconcat": b"ffconcat version 1.0\nfile other.avi\n",
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.avi\n#EXT-X-ENDLIST\n",
    "m3u of paths": b"other.avi\n",
    "dash": b'<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011"></MPD>',
    "sdp": b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "url": b"http://127.0.0.1:9/other.avi\n",
}
ID3 = b"ID3\x04\x00\x00\x00\x00\x40\x00" + bytes(64 * 128)


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", ID3, ID3 + ID3])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_shows_no_other_file(make_video, tmp_path, name, before):
    make_video(tmp_path / "other.avi", frames=3, size=(32, 32))
    (tmp_path / "v.avi").write_bytes(before + PLAYLISTS[name])
    with pytest.raises(VideoError, match="not readable as a video|of other files"):
        probe(tmp_path / "v.avi")


def test_a_playlist_among_other_bytes_is_found(tmp_path):
    (tmp_path / "v.avi").write_bytes(bytes(100) + PLAYLISTS["hls"])
    with pytest.raises(VideoError, match="not readable as a video|of other files"):
        probe(tmp_path / "v.avi")


def test_frames_are_rgb_and_in_order(tmp_path, write_mjpg):
    clip = np.zeros((5, 32, 48, 3), np.uint8)
    clip[..., 0] = 200  # red
    clip[..., 2] = np.arange(5)[:, None, None] * 40  # ever more blue
    write_mjpg(tmp_path / "v.avi", clip)
    frames = np.stack(list(read_frames(tmp_path / "v.avi")))
    assert frames.shape == clip.shape
    assert frames.dtype == np.uint8
    assert np.abs(frames.astype(int) - clip).max() <= 6


@pytest.mark.parametrize(("short_side", "expected"), [(24, (24, 32)), (96, (96, 128)), (48, None)])
def test_short_side(make_video, tmp_path, short_side, expected):
    path = make_video(tmp_path / "v.avi", frames=2, size=(48, 64))
    for frame in read_frames(path, short_side=short_side):
        assert frame.shape == (*(expected or (48, 64)), 3)


def test_scaled_size_examples():
    assert scaled_size(320, 240, 112) == (149, 112)
    assert scaled_size(180, 320, 90) == (90, 160)
    assert scaled_size(5, 2, 1) == (2, 1)  # 2.5: to the even one


@given(st.integers(1, 8192), st.integers(1, 8192), st.integers(1, 512))
def test_scaled_size_keeps_the_shape(width, height, short_side):
    new = scaled_size(width, height, short_side)
    assert min(new) == short_side
    assert abs(new[0] / short_side - width / min(width, height)) <= 0.5 / short_side + 1e-9


def test_shrinking_averages_areas():
    stripes = np.zeros((4, 4, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize(stripes, (2, 2)) == 100).all()


@pytest.mark.parametrize("size", [(64, 96), (240, 320), (67, 45), (8, 8), (5, 3), (1, 1)])
def test_what_repeats_a_frame(size):
    """Every block against the bound: 12 levels on average, in the colour that differs most."""
    rng = np.random.default_rng(0)
    frame = rng.integers(30, 220, (*size, 3), np.uint8)
    rows, columns = (max(1, side // 8) for side in size)
    assert repeats(frame, frame.copy())
    assert not repeats(frame, frame[:, :0])
    assert repeats(frame, frame + rng.integers(0, 13, frame.shape).astype(np.uint8))
    for row, column in {(0, 0), (rows - 1, columns - 1), (rows // 2, 0), (rows // 3, columns // 2)}:
        for levels, same in ((12, True), (14, False)):
            other = frame.copy()
            other[8 * row : 8 * row + 8, 8 * column : 8 * column + 8, 1] += levels
            assert repeats(other, frame) is same
    if min(size) > 40:
        assert not repeats(np.roll(frame, 1, axis=1), frame)


def test_a_real_clip_that_repeats_frames(shared_data):
    """A surveillance camera of eight pictures a second in a film of 30: each is there thrice."""
    path = shared_data / "surv-fight" / "fight" / "fi129.mp4"
    frames = list(islice(read_frames(path), 41))
    new = [0, 3, 7, 10, 13, 16, 19, 22, 25, 28, 34, 38]  # as the eye sees it
    with open_video(path, drop_repeated=True) as video:
        for number, frame in zip(new, video, strict=False):
            np.testing.assert_array_equal(frame, frames[number])
    assert (video.decoded, video.repeated) == (39, 27)


def test_header_of_9000_x_9000_is_refused(make_video, tmp_path):
    path = make_video(tmp_path / "v.avi", frames=2)
    data = bytearray(path.read_bytes())
    for place in (data.find(b"avih") + 40, data.find(b"strf") + 12):  # width, height
        data[place : place + 8] = (9000).to_bytes(4, "little") * 2
    start = data.find(b"\xff\xc0")  # the size in each JPEG picture: height, width
    while start >= 0:
        data[start + 5 : start + 9] = (9000).to_bytes(2, "big") * 2
        start = data.find(b"\xff\xc0", start + 1)
    path.write_bytes(data)
    for read in (probe, lambda path: next(read_frames(path))):
        with pytest.raises(VideoError, match="9000 x 9000 pixels a frame; at most 67,108,864"):
            read(path)


def test_what_is_no_video(tmp_path):
    os.mkfifo(tmp_path / "fifo.avi")
    (tmp_path / "empty.avi").touch()
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "folder.avi").mkdir()
    for name, reason in [
        ("fifo.avi", "not a regular file"),
        ("folder.avi", "a folder without numbered pictures"),
        ("empty.avi", "empty"),
        ("text.avi", "not readable as a video"),
        ("absent.avi", "No such file"),
    ]:
        with pytest.raises(VideoError, match=reason):
            probe(tmp_path / name)


def test_pixels_of_real_clips_are_those_of_opencv(shared_data):
    """At most one level apart on average; FFmpeg inside another build may round otherwise."""
    clips = sorted((shared_data / "ucf101-clips" / "videos").glob("*/*.avi"))
    assert len(clips) == 60
    for clip in clips:
        capture = cv2.VideoCapture(str(clip))
        for frame in islice(read_frames(clip), 3):
            is_there, bgr = capture.read()
            assert is_there, clip.name
            difference = cv2.absdiff(frame, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            assert difference.mean() <= 1, clip.name


def test_nothing_is_written_to_stderr(shared_data, capfd):
    for name in ("torchcodec_av1.mkv", "decord_corrupted.mp4"):
        try:
            for _ in read_frames(shared_data / "decoder-cases" / "real" / name, short_side=32):
                pass
        except VideoError:
            pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("file", "num_frames", "size"),
    [
        ("moviepy_no_duration.webm", None, (1280, 720)),
        ("decord_pancake.mkv", 311, (426, 240)),
        ("decord_rot90.mov", 3, (320, 568)),
        ("moviepy_bitmap_1687B.mp4", 5, (1, 1)),
    ],
)
def test_probe_of_real_files(shared_data, file, num_frames, size):
    info = probe(shared_data / "decoder-cases" / "real" / file)
    assert info.num_frames == num_frames
    assert (info.width, info.height) == size


def test_real_files_are_whole_or_not(shared_data):
    """As the manifest counts by ffprobe; what is really cut or damaged is said to be."""
    folder = shared_data / "decoder-cases"
    damaged = {"real/decord_corrupted.mp4": 49, "derived/truncated_40pct.avi": 23}
    with (folder / "MANIFEST.csv").open() as stream:
        for row in csv.DictReader(stream):
            expected = int(row["ffprobe_frames"] or 0)
            try:
                with open_video(folder / row["file"], short_side=16) as video:
                    decoded = sum(1 for _ in video)
                    assert (video.damage is not None) == (row["file"] in damaged), row["file"]
            except VideoError:
                decoded = 0
            assert decoded == damaged.get(row["file"], expected), row["file"]


def test_sound_files_are_not_called_damaged(shared_data):
    folder = shared_data / "reported-cases" / "healthy-but-damaged" / "videos" / "a"
    for path in folder.iterdir():
        with open_video(path) as video:
            decoded = sum(1 for _ in video)
        if path.name == "really_cut_off.mkv":
            assert decoded == 29
            assert "ends early" in video.damage
        else:
            assert decoded == (52 if path.name.startswith("cut") else 75)
            assert video.damage is None


def test_real_clips_have_the_published_number_of_frames(shared_data):
    folder = shared_data / "ucf101-clips"
    with (folder / "MANIFEST.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row in rows[::12]:
        frames = list(read_frames(folder / "videos" / row["class"] / row["file"]))
        assert len(frames) == int(row["frames_decoded"]) == int(row["frames_in_published_list"])
        assert frames[0].shape == (240, 320, 3)


def test_rotated_video_is_upright(shared_data):
    folder = shared_data / "decoder-cases" / "derived"
    upright = next(read_frames(folder / "rotated90_metadata.mp4"))
    lying = next(read_frames(folder / "mp4_named.avi"))
    turned = [np.rot90(lying, k).astype(int) for k in (1, 3)]
    assert min(np.abs(upright - turn).mean() for turn in turned) < 1


def test_times_of_a_film_of_thousands_of_frames_a_second():
    video = Video.__new__(Video)
    video._rate, video._first_seconds = Fraction(4000), None
    video.seconds = array("d")
    for video.decoded in range(8):
        video._note_time(1.0 + video.decoded / 4000)
    assert list(video.seconds) == [number / 4000 for number in range(8)]
