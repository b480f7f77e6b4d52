import os
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_extract.layouts.layouts import (
    LAYOUTS,
    QUANTISERS,
    find_tree,
    level_range,
    list_flow,
    to_levels,
)
from flow_extract.layouts.pictures import LayoutEntry
from flow_extract.store.codecs import quantize
from twostream_base.errors import InputError

# (frame, u, v): where other tools put the pictures of a video, written out.
PLACES = {
    "uv": ("rgb/{}/frame{:06}.jpg", "u/{}/frame{:06}.jpg", "v/{}/frame{:06}.jpg"),
    "flow_xy": ("{}/img_{:05}.jpg", "{}/flow_x_{:05}.jpg", "{}/flow_y_{:05}.jpg"),
    "xy": ("{}/img_{:05}.jpg", "{}/x_{:05}.jpg", "{}/y_{:05}.jpg"),
}


@pytest.fixture(params=PLACES)
def layout(request):
    return request.param


@pytest.fixture
def write_tree(tmp_path):
    """`write_tree(layout, video, flows=5, ...)`: pair n has the levels u = 100 + n, v = 50 + n."""

    def write(layout, video, *, flows=5, frames=None, first=1, size=(24, 32)):
        for key, count, level in (
            (0, flows + 1 if frames is None else frames, 10),
            (1, flows, 100),
            (2, flows, 50),
        ):
            for n in range(count):
                path = tmp_path / PLACES[layout][key].format(video, n + first)
                path.parent.mkdir(parents=True, exist_ok=True)
                colour = (level + n, 20, 200) if key == 0 else level + n
                shape = (*size, 3) if key == 0 else size
                cv2.imwrite(str(path), np.full(shape, colour, np.uint8)[..., ::1])
        return tmp_path

    return write


def test_every_layout_has_its_places():
    assert LAYOUTS.keys() == PLACES.keys()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("video", ["v_x", "class/v_x", "class/v x.é"])
def test_pictures_are_found_in_order(write_tree, layout, video, first):
    root = write_tree(layout, video, flows=12, first=first)
    (root / "readme.txt").touch()
    for key in ("u", "v", "rgb"):  # what is no picture of the video is ignored
        folder = LAYOUTS[layout].prefix(key, root, video).parent
        (folder / "notes.txt").touch()
        (folder / "thumbnail.jpg").touch()
    assert find_tree(root, LAYOUTS[layout]).videos == {video: video}
    entry = LayoutEntry(root, video, layout, quantiser="ours")
    assert (entry.num_frames, entry.num_flows, entry.size) == (13, 12, (24, 32))
    flow = entry.read_flow(0, 12)
    assert flow[:, 0, 0].tolist() == [[100 + n, 50 + n] for n in range(12)]
    assert (entry.read_flow(3, 4) == flow[3:7]).all()
    blue = [int(frame[0, 0, 2]) for frame in entry.read_rgb(range(13))]
    assert np.abs(np.array(blue) - np.arange(10, 23)).max() <= 3
    assert entry.header["counts"] == {"promised": 13, "frames": 13, "flows": 12}
    assert (entry.header["status"], entry.header["reason"]) == ("ok", "")


def test_suffix_of_a_video_is_no_part_of_its_name(write_tree, layout):
    root = write_tree(layout, "class/v_1.avi")
    write_tree(layout, "class/v_1.2")
    assert find_tree(root, LAYOUTS[layout]).videos == {
        "class/v_1": "class/v_1.avi",
        "class/v_1.2": "class/v_1.2",
    }
    write_tree(layout, "class/v_1")
    with pytest.raises(InputError, match=r"v_1 and class/v_1\.avi would share a name"):
        find_tree(root, LAYOUTS[layout])


def test_folder_that_a_stopped_tool_left_empty_is_named(write_tree, layout):
    root = write_tree(layout, "class/v_1")
    LAYOUTS[layout].prefix("u", root, "class/v_2").parent.mkdir(parents=True)
    assert list(find_tree(root, LAYOUTS[layout]).videos) == ["class/v_1", "class/v_2"]
    with pytest.raises(InputError, match="class/v_2: there are no pictures"):
        LayoutEntry(root, "class/v_2", layout)


def test_folder_links_are_followed_but_not_in_circles(write_tree, tmp_path):
    root = write_tree("xy", "elsewhere/v_1")
    (root / "tree").mkdir()
    os.symlink(root / "elsewhere", root / "tree" / "class")
    os.symlink(root / "tree", root / "tree" / "circle")
    assert find_tree(root / "tree", LAYOUTS["xy"]).videos == {"class/v_1": "class/v_1"}


def test_a_link_to_nothing_is_a_video_that_cannot_be_read(write_tree, layout, tmp_path):
    root = write_tree(layout, "class/v_1")
    folder = LAYOUTS[layout].prefix("u", root, "class/v_2").parent
    folder.symlink_to(root / "unmounted")
    assert list(find_tree(root, LAYOUTS[layout]).videos) == ["class/v_1", "class/v_2"]
    with pytest.raises(InputError, match="class/v_2: there are no pictures"):
        LayoutEntry(root, "class/v_2", layout)


def test_what_is_hidden_is_passed_over(write_tree):
    write_tree("xy", "class/.v_2")
    root = write_tree("xy", "class/v_1")
    (root / "class" / ".#list.csv").symlink_to("user@host.1234")
    assert list(find_tree(root, LAYOUTS["xy"]).videos) == ["class/v_1"]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_pictures_that_are_links_to_nothing_are_named(write_tree, layout, kind):
    """Not left out in silence at the end of a row, nor taken for a fault of the disk."""
    root = write_tree(layout, "v_1", flows=12, frames=13)
    last = root / PLACES[layout][kind].format("v_1", 12 if kind else 13)
    last.unlink()
    last.symlink_to(root / "unmounted.jpg")
    with pytest.raises(InputError, match=rf"1 of 1[23] pictures are links .*: {last.name};"):
        LayoutEntry(root, "v_1", layout)


def test_nothing_there_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"looked for .*rgb/VIDEO/frame\*\.jpg"):
        find_tree(tmp_path, LAYOUTS["uv"])


def test_leftover_of_a_conversion_is_no_video(write_tree):
    root = write_tree("xy", "v_1.new")
    with pytest.raises(InputError, match=r"v_1\.new is left of a stopped conversion"):
        find_tree(root, LAYOUTS["xy"])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 2, 4, 5, 7], r"2 of 7 pictures are missing, numbers 3, 6"),
        ([0, 2], r"1 of 3 pictures are missing, numbers 1"),
        ([3, 4], r"2 of 4 pictures are missing, numbers 1, 2"),
    ],
)
def test_gaps_are_named(tmp_path, numbers, message):
    for number in numbers:
        (tmp_path / f"x_{number:05}.jpg").touch()
    with pytest.raises(InputError, match=message):
        list_flow(tmp_path / "x_")


def test_number_that_occurs_twice(tmp_path):
    (tmp_path / "x_1.jpg").touch()
    (tmp_path / "x_0001.PNG").touch()
    with pytest.raises(InputError, match=r"x_0001\.PNG and x_1\.jpg have the same number"):
        list_flow(tmp_path / "x_")


def test_u_without_v_is_named(write_tree, layout):
    root = write_tree(layout, "v_1", flows=5)
    (root / PLACES[layout][2].format("v_1", 5)).unlink()
    with pytest.raises(InputError, match="v_1: 5 pictures of u, 4 of v; .*: 5;"):
        LayoutEntry(root, "v_1", layout)


@pytest.mark.parametrize(
    ("frames", "flows", "used", "status"),
    [(6, 6, (6, 5), "ok"), (10, 5, (6, 5), "damaged"), (4, 6, (4, 3), "damaged"),
     (0, 5, (0, 5), "ok"), (1, 0, (1, 0), "ok")],
)  # fmt: skip
def test_frames_and_flow_that_do_not_fit(write_tree, layout, frames, flows, used, status):
    root = write_tree(layout, "v_1", flows=flows, frames=frames)
    entry = LayoutEntry(root, "v_1", layout)
    assert (entry.num_frames, entry.num_flows) == used
    assert entry.header["status"] == status
    assert bool(entry.header["reason"]) == (used != (frames, flows))
    for read in (lambda: entry.read_flow(used[1], 1), lambda: entry.read_rgb([used[0]])):
        with pytest.raises(IndexError, match="is asked for; it has"):
            read()


@pytest.mark.parametrize("frames", [1, 7])
def test_frames_without_flow_are_all_kept(write_tree, layout, frames):
    root = write_tree(layout, "v_1", flows=0, frames=frames)
    tree = find_tree(root, LAYOUTS[layout])
    assert tree == ({"v_1": "v_1"}, False)
    entry = LayoutEntry(root, "v_1", layout, tree_has_flow=tree.has_flow)
    header = entry.header
    assert header["counts"] == {"promised": frames, "frames": frames, "flows": 0}
    assert (header["status"], header["reason"], header["method"]) == ("ok", "", None)
    blue = [int(frame[0, 0, 2]) for frame in entry.read_rgb(range(frames))]
    assert np.abs(np.array(blue) - np.arange(10, 10 + frames)).max() <= 3


def test_one_video_without_flow_among_others_says_so(write_tree, layout):
    root = write_tree(layout, "v_1")
    for video, frames in (("v_2", 7), ("v_3", 1)):
        write_tree(layout, video, flows=0, frames=frames)
    tree = find_tree(root, LAYOUTS[layout])
    assert tree == ({"v_1": "v_1", "v_2": "v_2", "v_3": "v_3"}, True)
    headers = [LayoutEntry(root, video, layout).header for video in tree.videos]
    assert [header["counts"]["frames"] for header in headers] == [6, 7, 1]
    assert [header["method"] is None for header in headers] == [False, True, False]
    assert [header["reason"] for header in headers] == [
        "", "no flow, unlike others; its 7 frames are stored", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["{:05d}.jpg", "{}.png", "frame-{}.PNG", "image_{}.jpeg", "v_1_g02_c03_{:04}.jpg"]
)
@pytest.mark.parametrize("flows", [0, 11])
@pytest.mark.parametrize("first", [1, 147])
def test_frames_of_any_name(write_tree, layout, name, flows, first):
    """Their order is that of their numbers, 9 before 10; they begin anywhere."""
    root = write_tree(layout, "v_1", flows=flows, frames=12, first=first)
    prefix = LAYOUTS[layout].prefix("rgb", root, "v_1")
    for path in [*prefix.parent.glob(f"{prefix.name}[0-9]*")]:
        number = int(path.stem.removeprefix(prefix.name))
        cv2.imwrite(str(path.with_name(name.format(number))), cv2.imread(str(path)))
        path.unlink()
    assert find_tree(root, LAYOUTS[layout]) == ({"v_1": "v_1"}, flows > 0)
    entry = LayoutEntry(root, "v_1", layout, tree_has_flow=flows > 0)
    assert (entry.num_frames, entry.num_flows, entry.header["status"]) == (12, flows, "ok")
    blue = [int(frame[0, 0, 2]) for frame in entry.read_rgb(range(12))]
    assert np.abs(np.array(blue) - np.arange(10, 22)).max() <= 4
    assert np.diff(blue).min() >= -1
    name = name.format(first + 5)
    (prefix.parent / name).unlink()
    with pytest.raises(InputError, match=rf"1 of 12 pictures are missing, number {first + 5}"):
        LayoutEntry(root, "v_1", layout)


def test_frames_that_begin_elsewhere_than_flow(write_tree, layout):
    """Else the flow of a video whose first frames are lost would be that of other frames."""
    root = write_tree(layout, "v_1", flows=5)
    (root / PLACES[layout][0].format("v_1", 1)).unlink()
    with pytest.raises(InputError, match="numbers begin with 1, those of the frames with 2"):
        LayoutEntry(root, "v_1", layout)
    for key in (1, 2):
        (root / PLACES[layout][key].format("v_1", 1)).unlink()
    assert LayoutEntry(root, "v_1", layout).num_flows == 4
    for key in (1, 2):
        (root / PLACES[layout][key].format("v_1", 2)).unlink()
    with pytest.raises(InputError, match="1 of 4 pictures are missing, numbers 2;"):
        LayoutEntry(root, "v_1", layout)


@pytest.mark.parametrize(("there", "asked"), [("xy", "flow_xy"), ("flow_xy", "xy")])
def test_a_tree_of_another_layout_is_not_taken_for_frames_alone(write_tree, there, asked):
    root = write_tree(there, "v_1")
    tree = find_tree(root, LAYOUTS[asked])
    with pytest.raises(
        InputError, match=rf"v_1: pictures of 3 kinds.*convert-flow --from {there}`"
    ):
        LayoutEntry(root, "v_1", asked, tree_has_flow=tree.has_flow)


def test_pictures_of_two_sizes(write_tree, layout):
    root = write_tree(layout, "v_1", flows=5)
    write_tree(layout, "v_1", flows=5, frames=0, size=(24, 40))
    with pytest.raises(InputError, match="40 x 24 pixels, others of this video 32 x 24"):
        LayoutEntry(root, "v_1", layout)


def test_broken_picture_is_named(write_tree, layout):
    root = write_tree(layout, "v_1", flows=5)
    (root / PLACES[layout][1].format("v_1", 3)).write_bytes(b"no picture")
    entry = LayoutEntry(root, "v_1", layout)
    assert len(entry.read_flow(0, 2)) == 2
    with pytest.raises(InputError, match=r"3\.jpg: 10 bytes that are no picture"):
        entry.read_flow(0, 5)


def test_levels_of_other_tools_have_their_zero_between_two():
    """255 steps for 40 pixels: levels 127 and 128 are -0.078 and +0.078 pixels, both still to us;
    the ends are ours. Level 134 is (134 - 127.5) / 127.5 * 20 = 1.0196 pixels: 128 + 6.47."""
    low, high = level_range("0-255", bound=20.0)
    flow = low + np.array([0, 127, 128, 134, 255]) / 255 * (high - low)
    assert quantize(flow).tolist() == [1, 128, 128, 134, 255]
    assert to_levels(np.array([-30, -20, 0, 20, 30]), low, high).tolist() == [0, 0, 128, 255, 255]


@given(st.sampled_from(QUANTISERS), st.integers(1, 255), st.floats(0.5, 200))
def test_our_levels_survive_every_quantiser(quantiser, level, bound):
    low, high = level_range(quantiser, bound=bound)
    flow = (level - 128) * bound / 127
    there = to_levels(np.array([flow]), low, high)
    back = quantize(low + there / 255 * (high - low), bound=bound)
    assert back.tolist() == [level]


def test_ranges_of_gpu_flow_decide(write_tree, tmp_path):
    """Pair n was spread from -n to 2n (u) and -5 to 5 (v); u level 100 + n is 3n(100 + n)/255 - n.

    Pair 2 of u: 6 * 102 / 255 - 2 = 0.4 pixels, 128 + 0.4 * 6.35 = 130.54. Of v, level 52:
    -2.9608 pixels, 109.2.
    """
    write_tree("uv", "class/v_1", flows=4)
    ranges = [[-n, 2 * n, -5, 5] for n in range(4)]
    np.array(ranges, "<f4").tofile(tmp_path / "u" / "class" / "v_1.bin")
    entry = LayoutEntry(tmp_path, "class/v_1", "uv")
    assert entry.header["tree"] == {"layout": "uv", "quantiser": ".bin"}
    flow = entry.read_flow(0, 4)[:, 0, 0]
    assert flow[2].tolist() == [131, 109]
    assert flow[0, 0] == 128
    pixels = [3 * n * (100 + n) / 255 - n for n in range(4)]
    assert flow[:, 0].tolist() == [round(128 + u * 6.35) for u in pixels]


@pytest.mark.parametrize("place", ["u/class/v_1/v_1.bin", "v/class/v_1/any.bin", "v/class/v_1.bin"])
def test_ranges_of_gpu_flow_elsewhere(write_tree, tmp_path, place):
    """Inside the folder they were passed over in silence, and the flow read with the default."""
    write_tree("uv", "class/v_1", flows=4)
    np.tile(np.array([-5, 10, -5, 5], "<f4"), (4, 1)).tofile(tmp_path / place)
    entry = LayoutEntry(tmp_path, "class/v_1", "uv")
    assert entry.header["tree"] == {"layout": "uv", "quantiser": ".bin"}
    pixels = [15 * (100 + n) / 255 - 5 for n in range(4)]
    expected = [round(128 + u * 6.35) for u in pixels]
    assert entry.read_flow(0, 4)[:, 0, 0, 0].tolist() == expected
    shutil.copy(tmp_path / place, tmp_path / "u" / "class" / "v_1.bin")
    assert LayoutEntry(tmp_path, "class/v_1", "uv").read_flow(3, 1)[0, 0, 0, 0] == expected[3]
    np.zeros((4, 4), "<f4").tofile(tmp_path / "u" / "class" / "v_1.bin")
    with pytest.raises(InputError, match=r"v_1\.bin and .*\.bin differ"):
        LayoutEntry(tmp_path, "class/v_1", "uv")


def test_ranges_count_in_other_layouts_too(write_tree, tmp_path):
    write_tree("xy", "v_1", flows=4)
    np.tile(np.array([-5, 10, -5, 5], "<f4"), (4, 1)).tofile(tmp_path / "v_1" / "v_1.bin")
    assert LayoutEntry(tmp_path, "v_1", "xy").header["tree"]["quantiser"] == ".bin"


@pytest.mark.parametrize(
    ("ranges", "message"),
    [([[-20, 20, -20, 20]] * 3, "48 bytes; 4 pairs need 64"),
     ([[20, -20, -20, 20]] * 4, "no min_u, max_u"),
     ([[np.nan, 20, -20, 20]] * 4, "no min_u, max_u")],
)  # fmt: skip
def test_unsound_ranges(write_tree, tmp_path, ranges, message):
    write_tree("uv", "v_1", flows=4)
    np.array(ranges, "<f4").tofile(tmp_path / "u" / "v_1.bin")
    with pytest.raises(InputError, match=message):
        LayoutEntry(tmp_path, "v_1", "uv")


def test_real_frame_folder(shared_data):
    """mmaction's test data: ten frames, but flow of the first five pairs only."""
    videos = find_tree(shared_data, LAYOUTS["xy"]).videos
    assert videos["rawframes-sample"] == "rawframes-sample"
    entry = LayoutEntry(shared_data, "rawframes-sample", "xy")
    assert (entry.num_frames, entry.num_flows, entry.size) == (6, 5, (240, 320))
    assert entry.header["reason"] == "10 frames but 5 flow pairs; 5 pairs used"
    flow = entry.read_flow(0, 5).astype(float)
    # Pairs 2 and 4 hardly move. Their levels are half 127, half 128; to us that is 128.
    assert abs(flow[[1, 3]].mean() - 128) < 0.01
    x_5 = cv2.imread(str(shared_data / "rawframes-sample" / "x_00005.jpg"), cv2.IMREAD_GRAYSCALE)
    pixels = (x_5 / 255 * 2 - 1) * 20
    assert np.abs((flow[4, ..., 0] - 128) * 20 / 127 - pixels).max() <= 10 / 127 + 1e-9
    assert entry.read_rgb([0, 5]).shape == (2, 240, 320, 3)
