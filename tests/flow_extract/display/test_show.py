import numpy as np
import pytest
from PIL import Image

from flow_extract.display.color_wheel import flow_to_rgb, speed_scale, wheel_picture
from flow_extract.display.show import (
    FlowClip,
    choose_pairs,
    draw,
    draw_clip,
    stored_clip,
    video_clip,
)
from flow_extract.extraction.one_video import extract_video
from flow_extract.methods import FLOW_METHODS
from flow_extract.store.reader import entry_path
from flow_extract.video.decode import read_frames
from twostream_base.errors import InputError


@pytest.fixture
def video(make_video, tmp_path):
    """Everything moves by (1.5, -0.5) pixels a frame."""
    return make_video(tmp_path / "v.avi", frames=12, size=(96, 128))


@pytest.fixture
def clip(video, make_job):
    job = make_job(video)
    assert extract_video(job).status == "ok"
    return stored_clip(entry_path(job.store, "v"))


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        (None, None, list(range(10))),
        (None, 1, [5]),
        (None, 4, [1, 3, 6, 8]),
        (None, 40, list(range(10))),
        ("3", 4, [3]),
        ("7,0,3,3", 4, [0, 3, 7]),
        ("2:5", 4, [2, 3, 4]),
        (":3,8:", 4, [0, 1, 2, 8, 9]),
        ("0:10:4", 4, [0, 4, 8]),
    ],
)
def test_which_pairs(text, default, expected):
    assert choose_pairs(clip_of(10), text, default=default) == expected


def clip_of(num_flows, moves=lambda pair: True):
    return FlowClip("v", 25.0, num_flows, iter, moves)


def test_pairs_that_move_are_preferred():
    clip = clip_of(40, moves=lambda pair: pair in (2, 14, 17, 25))
    assert choose_pairs(clip, None, default=4) == [2, 14, 25, 35]  # the last ten are all still
    assert choose_pairs(clip, "5", default=4) == [5]


def test_repeated_frames_do_not_move(tmp_path, make_job, write_mjpg):
    texture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    shifts = (0, 2, 2, 2, 4, 6, 6)
    write_mjpg(tmp_path / "v.avi", np.stack([np.roll(texture, shift, 1) for shift in shifts]))
    job = make_job(tmp_path / "v.avi")
    extract_video(job)
    of_video = video_clip(tmp_path / "v.avi", FLOW_METHODS["dis"](), method_name="dis")
    for clip in (stored_clip(entry_path(job.store, "v")), of_video):
        assert [clip.moves(pair) for pair in range(6)] == [True, False, False, True, True, False]


@pytest.mark.parametrize("text", ["x", "1,", "3-5", "10", "-1", "20:30", "1:2:3:4", "::0"])
def test_no_such_pairs(text):
    with pytest.raises(InputError, match="--frames"):
        choose_pairs(clip_of(10), text, default=4)


def test_no_flow_at_all():
    with pytest.raises(InputError, match="two frames"):
        choose_pairs(clip_of(0), None, default=4)


@pytest.mark.parametrize(
    ("speed", "end"),
    [(0, 1), (0.009, 1), (0.3, 0.3), (0.7, 0.8), (1, 1), (1.1, 1.5), (4.5, 5), (9, 10), (33, 40)],
)
def test_speed_scales_at_a_round_number(speed, end):
    flow = np.zeros((20, 20, 2))
    flow[..., 0] = speed
    assert speed_scale([np.zeros((20, 20, 2)), flow]) == pytest.approx(end)


def test_few_wild_vectors_do_not_set_the_scale():
    flow = np.full((100, 100, 2), 0.7)
    flow[0, :30] = 50
    assert speed_scale([flow]) == 1


def test_a_cut_does_not_set_the_scale():
    """Nor do still pictures, with a vector of one step of the quantiser here and there."""
    fields = [np.full((20, 20, 2), speed / 2**0.5) for speed in (0.16, 2.5, 20, 0, 0.16, 2.9, 0.16)]
    assert speed_scale(fields) == 3
    assert speed_scale(fields[:1]) == pytest.approx(0.2)


def test_stored_clip_and_video_clip_are_the_same(video, clip):
    other = video_clip(video, FLOW_METHODS["dis"](), method_name="dis")
    assert (clip.num_flows, clip.fps, clip.title) == (11, 25, "v, flow by dis")
    assert (other.num_flows, other.fps, other.title) == (11, 25, "v, flow by dis")
    for (frame, flow), (other_frame, other_flow) in zip(
        clip.read([0, 4, 10]), other.read([0, 4, 10]), strict=True
    ):
        assert np.abs(frame.astype(int) - other_frame).mean() < 2
        assert np.abs(flow - other_flow).mean() < 0.1
        assert np.abs(flow.mean(axis=(0, 1)) - (1.5, -0.5)).max() < 0.2


def test_picture_holds_frame_colors_and_legend():
    frame = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    flow = np.random.default_rng(1).normal(size=(240, 320, 2))
    rows = [(3, frame, flow), (7, frame[::-1], flow)]
    picture = np.asarray(draw(rows, title="v", largest=2.0))
    for what in (frame, frame[::-1], flow_to_rgb(flow, max_speed=2.0), wheel_picture(120)):
        assert find(picture, what), "not in the picture"


def find(picture: np.ndarray, part: np.ndarray) -> bool:
    height, width = part.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture, part[:1, :8].shape)
    rows = windows.reshape(*windows.shape[:2], 8, 3)
    middle = height // 2
    hits = np.argwhere((rows == part[middle, width // 2 : width // 2 + 8]).all(axis=(2, 3)))
    corners = [(y - middle, x - width // 2) for y, x in hits]
    return any(
        y >= 0 <= x and np.array_equal(picture[y : y + height, x : x + width], part)
        for y, x in corners
    )


def test_png(clip, tmp_path):
    assert draw_clip(clip, [2, 5], tmp_path / "a.png") == 2
    draw_clip(clip, [2], tmp_path / "one.png")
    with Image.open(tmp_path / "a.png") as two, Image.open(tmp_path / "one.png") as one:
        assert two.size[1] > one.size[1] > 240


def test_gif(clip, tmp_path):
    draw_clip(clip, [0, 3, 7], tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.n_frames, film.info["loop"], film.info["duration"]) == (3, 0, 40)


def test_mp4(clip, tmp_path):
    draw_clip(clip, [0, 3, 7], tmp_path / "a.mp4")
    frames = list(read_frames(tmp_path / "a.mp4"))
    assert len(frames) == 3
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "store", "v.avi"]


def test_mp4_that_cannot_be_written_leaves_nothing(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("cv2.VideoWriter.fourcc", lambda *code: 0x20202020)
    with pytest.raises(InputError, match=r"cannot write MP4 here; choose a \.gif"):
        draw_clip(clip, [0], tmp_path / "a.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "v.avi"]


def test_other_suffix(clip, tmp_path):
    with pytest.raises(InputError, match=r"write a \.png, \.gif or \.mp4"):
        draw_clip(clip, [0], tmp_path / "a.webp")
