from itertools import permutations
from zlib import crc32

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_extract.video.decode import open_video, probe, read_frames
from flow_extract.video.frames import VideoError
from flow_extract.video.pictures import (
    content_sha256,
    identity,
    is_numbered_picture,
    number_pictures,
)
from twostream_base.files import sha256_bytes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.png", "2.png", "10.png"], "7 of 10 pictures are missing, numbers 3, 4, 5, 6, 7 and 2 "
         "more"),
        (["00147.jpg", "00148.jpg", "00149.jpg"], ""),
        (["img_00001.jpg", "img_00002.JPG", "img_00004.jpg"], "1 of 4 pictures are missing, "
         "number 3"),
        (["frame-1.PNG", "frame-2.PNG"], ""),
        (["v_Archery_g01_c02_9.jpeg", "v_Archery_g01_c02_10.jpeg"], ""),
        (["default-1_fn000000-0.png", "default-1_fn000001-0.png"], ""),
        (["frame_8_t0.320.jpg", "frame_9_t0.360.jpg", "frame_10_t0.400.jpg"], ""),
        (["0.jpg", "5.jpg", "10.jpg", "15.jpg"], ""),
        (["0.jpg", "5.jpg", "15.jpg"], "1 of 4 pictures are missing, number 10"),
        (["1.jpg", "3.jpg"], "1 of 3 pictures are missing, number 2"),
        (["7.jpg"], ""),
    ],
)  # fmt: skip
def test_order_and_gaps(names, expected):
    for shuffled in permutations(names):
        pictures = number_pictures(shuffled)
        assert pictures.names == names
        assert pictures.gap == expected


@given(st.sets(st.integers(0, 300), min_size=3), st.sampled_from(["{}.png", "a2_{:05}-0.jpg"]))
def test_gaps_as_counted_one_by_one(numbers, template):
    """A slow reference: the numbers of the widest step that meets all that are there."""
    low, high = min(numbers), max(numbers)
    steps = (range(low, high + 1, step) for step in range(high - low, 0, -1))
    row = next(row for row in steps if numbers <= set(row))
    pictures = number_pictures([template.format(number) for number in numbers])
    assert pictures.names == [template.format(number) for number in sorted(numbers)]
    assert pictures.expected == len(row)
    assert pictures.missing == [number for number in row if number not in numbers][:5]


def test_which_names_are_numbered_pictures():
    names = ["1.jpg", "a_7.JPEG", "x1.tiff", "a.jpg", "1.txt", "._1.jpg", "1", "1.mp4", ".1.jpg"]
    assert [name for name in names if is_numbered_picture(name)] == ["1.jpg", "a_7.JPEG", "x1.tiff"]


@pytest.fixture
def pictures(tmp_path):
    """A function that writes grey pictures of these levels, 1.png, 2.png, ...; their folder."""

    def write(levels, *, size=(48, 64), first=1):
        folder = tmp_path / "v"
        folder.mkdir(exist_ok=True)
        for number, level in enumerate(levels, first):
            cv2.imwrite(str(folder / f"{number}.png"), np.full((*size, 3), level, np.uint8))
        return folder

    return write


def test_frames_in_order(pictures):
    folder = pictures(range(10, 130, 10))
    frames = np.stack(list(read_frames(folder)))
    assert (frames.shape, frames.dtype) == ((12, 48, 64, 3), np.uint8)
    assert frames[:, 0, 0, 0].tolist() == [*range(10, 130, 10)]
    assert next(read_frames(folder, short_side=24)).shape == (24, 32, 3)
    info = probe(folder)
    assert (info.width, info.height, info.fps, info.num_frames) == (64, 48, None, 12)


def test_colours_grey_and_turned_pictures(tmp_path):
    """RGB as PIL shows them; EXIF turns, and 16 bit, palette, alpha and grey become RGB."""
    from PIL import Image

    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    turned = Image.Exif()
    turned[0x112] = 6
    for number, (kind, size) in enumerate(
        [("RGB", (4, 6)), ("L", (4, 6)), ("RGBA", (4, 6)), ("P", (4, 6)), ("I;16", (4, 6)),
         ("exif", (6, 4))], 1,
    ):  # fmt: skip
        folder = tmp_path / kind.replace(";", "")
        folder.mkdir()
        path = folder / f"{number}.png"
        if kind == "I;16":
            Image.fromarray(np.full((4, 6), 0x8000, np.uint16)).save(path)
        elif kind == "exif":
            Image.fromarray(red).save(path.with_suffix(".jpg"), exif=turned)
        else:
            Image.fromarray(red).convert(kind).save(path)
        (frame,) = read_frames(folder)
        assert frame.shape == (*size, 3), kind
        expected = {"L": (76, 76, 76), "I;16": (128, 128, 128), "exif": (254, 0, 0)}
        assert tuple(frame[0, 0]) == expected.get(kind, (255, 0, 0)), kind


def test_what_is_missing_or_unreadable_is_damage(pictures):
    folder = pictures(range(12))
    (folder / "7.png").unlink()
    (folder / "9.png").write_bytes(b"no picture")
    with open_video(folder) as video:
        assert [frame[0, 0, 0] for frame in video] == [0, 1, 2, 3, 4, 5, 7, 9, 10, 11]
    assert (video.promised, video.decoded) == (12, 10)
    assert video.damage == (
        "1 of 12 pictures are missing, number 7; 1 of 11 pictures cannot be read: 9.png"
    )


def test_pictures_of_another_size(pictures):
    folder = pictures(range(3))
    pictures([9], size=(30, 40), first=4)
    with pytest.raises(VideoError, match=r"4.png has 40 x 30 pixels, those before it 64 x 48"):
        list(read_frames(folder))


def test_no_picture_can_be_read(pictures, tmp_path):
    folder = pictures(range(2))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(VideoError, match=r"none of its 2 pictures can be read: 1.png, 2.png"):
        probe(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="a folder without numbered pictures"):
        probe(tmp_path / "empty")


@pytest.mark.parametrize("side", [9000, 60000])
def test_too_many_pixels_are_found_before_they_are_decoded(pictures, side):
    folder = pictures([1])
    data = bytearray((folder / "1.png").read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = crc32(data[12:29]).to_bytes(4, "big")
    (folder / "1.png").write_bytes(data)
    with pytest.raises(VideoError, match=r"1.png .*(9000 x 9000|too large)"):
        probe(folder)


def test_by_what_a_folder_is_recognised(pictures):
    folder = pictures(range(11))
    files = [folder / f"{number}.png" for number in range(1, 12)]
    assert content_sha256(folder) == sha256_bytes(b"".join(path.read_bytes() for path in files))
    before = identity(folder)
    size, mtime_ns = before["size"], before["mtime_ns"]
    assert size == sum(path.stat().st_size for path in files)
    assert mtime_ns == max(path.stat().st_mtime_ns for path in files)
    (folder / "notes.txt").touch()
    assert identity(folder) == before
    files[10].rename(folder / "12.png")
    after = identity(folder)
    assert (after["size"], after["mtime_ns"]) == (size, mtime_ns)
    assert after["names"] != before["names"]
