import json
import os
import shutil
from functools import partial
from typing import ClassVar

import cv2
import numpy as np
import pytest

from flow_extract.extraction.executor import Outcome
from flow_extract.extraction.one_video import Job, Result, extract_video
from flow_extract.extraction.settings import extraction_settings
from flow_extract.layouts import pictures
from flow_extract.layouts.convert import (
    conclude,
    convert_to_layout,
    convert_to_store,
    convert_video,
    layout_source,
    store_source,
)
from flow_extract.layouts.layouts import LAYOUTS, QUANTISERS
from flow_extract.layouts.pictures import LayoutEntry
from flow_extract.store.manifest import read_problem
from flow_extract.store.reader import PROBLEM_SUFFIX, StoreEntry, entry_path, scan_store
from flow_extract.store.writer import EntryWriter
from twostream_base.errors import InputError


def silent(items, *, total):
    return items


def in_this_process(function, jobs, *, conclude, **_):
    for job in jobs:
        yield job, conclude(job, Outcome("returned", function(job)))


to_store = partial(convert_to_store, workers=1, progress=silent, engine=in_this_process)
to_layout = partial(convert_to_layout, workers=1, progress=silent, engine=in_this_process)


def from_layout(root, layout, *, quantiser=None, bound=None):
    return layout_source(root, layout, quantiser=quantiser, bound=bound)


def statuses(results):
    return [(result.name, result.status, result.reused) for result in results]


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture
def store(make_video, tmp_path):
    """A store of two videos, lossless, so that what is compared is the way through the layout."""
    settings = extraction_settings("dis", {}, bound=8.0, short_side=None, codec="raw")
    for name, frames in (("class/v_1", 14), ("v_2", 1)):
        video = make_video(tmp_path / "videos" / f"{name}.avi", frames=frames, size=(48, 64))
        job = Job(name, video, f"{name}.avi", tmp_path / "store", settings)
        assert extract_video(job).status == "ok"
    return tmp_path / "store"


def jpeg_error(entry) -> int:
    """The largest change that JPEG 95 makes to one of the flow components of a video."""
    planes = np.moveaxis(entry.read_flow(0, entry.num_flows), -1, 1).reshape(-1, *entry.size)
    return max(
        int(
            np.abs(
                cv2.imdecode(cv2.imencode(".jpg", plane, [1, 95])[1], 0) - plane.astype(int)
            ).max()
        )
        for plane in planes
    )


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_round_trip_changes_no_value_by_more_than_jpeg_does(store, tmp_path, layout, quantiser):
    to_layout(store_source(store), tmp_path / "tree", layout, quantiser=quantiser)
    to_store(from_layout(tmp_path / "tree", layout), tmp_path / "back", codec="raw")
    before, after = (
        StoreEntry(entry_path(root, "class/v_1")) for root in (store, tmp_path / "back")
    )
    assert (after.num_frames, after.num_flows, after.size) == (14, 13, (48, 64))
    change = np.abs(after.read_flow(0, 13).astype(int) - before.read_flow(0, 13))
    # Levels of 255 steps are rounded to ours, which have 254.
    assert change.max() <= jpeg_error(before) + (quantiser == "0-255")
    assert change.mean() < 0.5
    change = np.abs(after.read_rgb(range(14)).astype(int) - before.read_rgb(range(14)))
    assert change.mean() < 2
    header = after.header
    assert (header["method"], header["quantiser"]) == (
        before.header["method"], before.header["quantiser"],
    )  # fmt: skip
    assert (header["fps"], header["status"], header["codec"]) == (25, "ok", "raw")
    assert header["settings_hash"] != before.header["settings_hash"], "JPEG was in between"


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
def test_tree_read_in_place_is_what_conversion_stores(store, tmp_path, layout, codec):
    to_layout(store_source(store), tmp_path / "tree", layout, quantiser="0-255")
    to_store(from_layout(tmp_path / "tree", layout), tmp_path / "back", codec=codec)
    tree = LayoutEntry(tmp_path / "tree", "class/v_1", layout)
    stored = StoreEntry(entry_path(tmp_path / "back", "class/v_1"))
    change = np.abs(tree.read_flow(0, 13).astype(int) - stored.read_flow(0, 13))
    assert change.max() == 0 if codec == "raw" else change.mean() < 0.5


def test_files_are_where_other_tools_look_for_them(store, tmp_path):
    for layout in LAYOUTS:
        to_layout(store_source(store), tmp_path / layout, layout, quantiser="0-255")
    for path in (
        "uv/u/class/v_1/frame000001.jpg", "uv/v/class/v_1/frame000013.jpg",
        "uv/rgb/class/v_1/frame000014.jpg", "uv/rgb/v_2/frame000001.jpg",
        "flow_xy/class/v_1/flow_x_00001.jpg", "flow_xy/class/v_1/flow_y_00013.jpg",
        "xy/class/v_1/x_00001.jpg", "xy/class/v_1/y_00013.jpg", "xy/class/v_1/img_00014.jpg",
    ):  # fmt: skip
        assert cv2.imread(str(tmp_path / path)).shape == (48, 64, 3), path
    pictures = list((tmp_path / "uv").rglob("*.jpg"))
    assert len(pictures) == 14 + 13 + 13 + 1


def test_done_videos_are_recognised(store, tmp_path, layout):
    tree, back = tmp_path / "tree", tmp_path / "back"
    assert statuses(to_layout(store_source(store), tree, layout, quantiser="ours")) == [
        ("class/v_1", "ok", False), ("v_2", "ok", False),
    ]  # fmt: skip
    shutil.rmtree(LAYOUTS[layout].prefix("u", tree, "v_2").parent)
    assert statuses(to_layout(store_source(store), tree, layout, quantiser="ours")) == [
        ("class/v_1", "ok", True), ("v_2", "ok", False),
    ]  # fmt: skip
    to_store(from_layout(tree, layout), back, codec="jpeg")
    first = entry_path(back, "class/v_1").read_bytes()
    entry_path(back, "v_2").write_bytes(b"cut")
    assert statuses(to_store(from_layout(tree, layout), back, codec="jpeg")) == [
        ("class/v_1", "ok", True), ("v_2", "ok", False),
    ]  # fmt: skip
    assert entry_path(back, "class/v_1").read_bytes() == first
    assert not any(r.reused for r in to_store(from_layout(tree, layout), back, codec="raw"))
    assert len((back / "manifest.jsonl").read_text().splitlines()) == 2


def test_one_bad_video_costs_only_itself(store, tmp_path, layout):
    tree, back = tmp_path / "tree", tmp_path / "back"
    to_layout(store_source(store), tree, layout, quantiser="ours")
    prefix = LAYOUTS[layout].prefix("v", tree, "class/v_1")
    digits = LAYOUTS[layout].digits
    prefix.with_name(f"{prefix.name}{7:0{digits}}.jpg").unlink()
    results = to_store(from_layout(tree, layout), back, codec="jpeg")
    assert statuses(results) == [("class/v_1", "failed", False), ("v_2", "ok", False)]
    assert "1 of 13 pictures are missing, numbers 7" in results[0].reason
    problem = read_problem(entry_path(back, "class/v_1", PROBLEM_SUFFIX))
    assert problem["reason"] == results[0].reason
    assert list(scan_store(back)) == ["v_2"]


def test_broken_store_file_leaves_nothing_in_the_tree(store, tmp_path, layout):
    path = entry_path(store, "class/v_1")
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    results = to_layout(store_source(store), tmp_path / "tree", layout, quantiser="ours")
    assert statuses(results) == [("class/v_1", "failed", False), ("v_2", "ok", False)]
    assert not [path for path in (tmp_path / "tree").rglob("*") if "v_1" in path.name]


def test_failure_midway_leaves_nothing_in_the_tree(store, tmp_path, layout, monkeypatch):
    read = StoreEntry.read_rgb

    def fail(entry, indices):
        if list(indices) == [9]:
            raise InputError("damaged")
        return read(entry, indices)

    monkeypatch.setattr(StoreEntry, "read_rgb", fail)
    to_layout(store_source(store), tmp_path / "tree", layout, quantiser="ours")
    assert not [path for path in (tmp_path / "tree").rglob("*") if "v_1" in path.name]


def test_pictures_of_somebody_else_are_not_overwritten(store, tmp_path, layout):
    foreign = LAYOUTS[layout].prefix("u", tmp_path / "tree", "v_2").parent
    foreign.mkdir(parents=True)
    (foreign / "mine.txt").touch()
    results = to_layout(store_source(store), tmp_path / "tree", layout, quantiser="ours")
    assert "was not written by convert-flow" in results[1].reason
    assert (foreign / "mine.txt").exists()


def test_flow_without_frames_is_refused(store, tmp_path):
    to_layout(store_source(store), tmp_path / "tree", "uv", quantiser="ours")
    shutil.rmtree(tmp_path / "tree" / "rgb")
    (first, second) = to_store(from_layout(tmp_path / "tree", "uv"), tmp_path / "b", codec="jpeg")
    assert "flow without frames" in first.reason
    assert "there are no pictures" in second.reason
    entry = LayoutEntry(tmp_path / "tree", "class/v_1", "uv")
    assert entry.read_flow(3, 10).shape == (10, 48, 64, 2), "read in place it can be used"


def test_note_prevails_and_contradiction_is_an_error(store, tmp_path):
    tree = tmp_path / "tree"
    to_layout(store_source(store), tree, "xy", quantiser="ours")
    assert LayoutEntry(tree, "class/v_1", "xy").header["quantiser"]["bound"] == 8.0
    for wrong in ({"quantiser": "0-255"}, {"bound": 20.0}):
        with pytest.raises(InputError, match=r"written with --\w+ (ours|8\.0), not"):
            LayoutEntry(tree, "class/v_1", "xy", **wrong)
    (tree / "class" / "v_1" / "twostream.json").write_text(json.dumps({"quantiser": "ours"}))
    with pytest.raises(InputError, match=r"twostream\.json: not a valid note"):
        LayoutEntry(tree, "class/v_1", "xy")


def test_another_codec_for_a_store(store, tmp_path):
    to_store(store_source(store), tmp_path / "jpeg", codec="jpeg")
    before, after = (
        StoreEntry(entry_path(root, "class/v_1")) for root in (store, tmp_path / "jpeg")
    )
    assert np.abs(after.read_flow(0, 13).astype(int) - before.read_flow(0, 13)).mean() < 0.5
    assert after.header["source"] == before.header["source"]
    assert (after.header["codec"], after.header["quality"]) == ("jpeg", 95)
    assert after.header["recoded_from"] == "raw"


def test_short_video_stays_damaged(store, tmp_path):
    """As one that decodes short: stored, marked, and used only on request."""
    to_layout(store_source(store), tmp_path / "tree", "xy", quantiser="ours")
    for n in (12, 13):
        for key in "xy":
            (tmp_path / "tree" / "class" / "v_1" / f"{key}_{n:05}.jpg").unlink()
    (first, _) = to_store(from_layout(tmp_path / "tree", "xy"), tmp_path / "back", codec="jpeg")
    assert (first.status, first.reason) == ("damaged", "14 frames but 11 flow pairs; 11 pairs used")
    to_layout(store_source(tmp_path / "back"), tmp_path / "again", "xy", quantiser="ours")
    assert LayoutEntry(tmp_path / "again", "class/v_1", "xy").header["status"] == "damaged"


def test_frames_alone_there_and_back(make_video, tmp_path, layout):
    """A store without flow becomes a tree of frames, and that a store without flow."""
    settings = extraction_settings(None, codec="raw")
    video = make_video(tmp_path / "v_1.avi", frames=5)
    extract_video(Job("v_1", video, "v_1.avi", tmp_path / "store", settings))
    to_layout(store_source(tmp_path / "store"), tmp_path / "tree", layout, quantiser="0-255")
    (result,) = to_store(from_layout(tmp_path / "tree", layout), tmp_path / "back", codec="raw")
    assert (result.status, result.reason) == ("ok", "")
    before, after = (StoreEntry(entry_path(tmp_path / root, "v_1")) for root in ("store", "back"))
    assert (after.num_frames, after.num_flows, after.header["method"]) == (5, 0, None)
    assert after.header["fps"] == 25
    change = np.abs(after.read_rgb(range(5)).astype(int) - before.read_rgb(range(5)))
    assert change.mean() < 2


def test_real_frame_folder(shared_data, tmp_path):
    shutil.copytree(shared_data / "rawframes-sample", tmp_path / "tree" / "v_1")
    (result,) = to_store(from_layout(tmp_path / "tree", "xy"), tmp_path / "store", codec="raw")
    assert result.status == "damaged"
    entry = StoreEntry(entry_path(tmp_path / "store", "v_1"))
    tree = LayoutEntry(tmp_path / "tree", "v_1", "xy")
    assert (entry.read_flow(0, 5) == tree.read_flow(0, 5)).all()


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_processes_side_by_side_write_the_same_bytes(store, tmp_path, layout):
    beside = {"workers": 2, "progress": silent}
    to_layout(store_source(store), tmp_path / "tree", layout, quantiser="ours")
    convert_to_layout(store_source(store), tmp_path / "2", layout, quantiser="ours", **beside)
    assert contents(tmp_path / "2") == contents(tmp_path / "tree")
    to_store(from_layout(tmp_path / "tree", layout), tmp_path / "a", codec="jpeg")
    results = convert_to_store(
        from_layout(tmp_path / "tree", layout), tmp_path / "b", codec="jpeg", **beside
    )
    assert statuses(results) == [("class/v_1", "ok", False), ("v_2", "ok", False)]
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


def test_video_that_kills_its_process_costs_only_itself(store, tmp_path):
    source = store_source(store) | {"killer": partial(os._exit, 3)}
    results = convert_to_store(source, tmp_path / "back", codec="jpeg", workers=2, progress=silent)
    assert [(r.name, r.status, r.reason) for r in results] == [
        ("class/v_1", "ok", ""), ("killer", "failed", "crashed: exit code 3"), ("v_2", "ok", ""),
    ]  # fmt: skip
    assert entry_path(tmp_path / "back", "killer", PROBLEM_SUFFIX).exists()


@pytest.mark.parametrize("convert", [
    partial(to_store, codec="jpeg"), partial(to_layout, layout="uv", quantiser="ours"),
])  # fmt: skip
def test_failing_disk_ends_it_all_and_leaves_nothing(store, tmp_path, monkeypatch, convert):
    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device", "/dest/v")

    for module, name in ((EntryWriter, "finish"), (pictures, "_write_picture")):
        monkeypatch.setattr(module, name, no_space)
    with pytest.raises(OSError, match=r"class/v_1 cannot be .*: No space left on device: /dest/v"):
        convert(store_source(store), tmp_path / "dest")
    assert not [path for path in (tmp_path / "dest").rglob("*") if "v" in path.name[1:]]


def test_what_a_killed_process_has_left_of_a_tree_goes(store, tmp_path, layout):
    half = LAYOUTS[layout].prefix("u", tmp_path / "tree", "v_2").parent
    half = half.with_name(f"{half.name}.new")
    half.mkdir(parents=True)
    (half / "x_00001.jpg").touch()

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        to_layout(store_source(store), tmp_path / "tree", layout, quantiser="ours", engine=stopped)
    assert not half.exists()


def test_empty_store(tmp_path):
    with pytest.raises(InputError, match="no store files there"):
        store_source(tmp_path)


class Opened:
    header: ClassVar = {"status": "damaged", "reason": "5 of 9 frames decoded"}


JOB = ("v", Opened)


@pytest.mark.parametrize("written", [True, False])
def test_status_is_that_of_the_source(written):
    result = convert_video(JOB, write=lambda name, entry: written)
    assert result == Result("v", "damaged", "5 of 9 frames decoded", reused=not written)


def failing(error):
    def write(name, entry):
        raise error

    return write


@pytest.mark.parametrize("error", [InputError("picture 7 is missing"), ValueError("no JPEG")])
def test_bad_video(error):
    assert convert_video(JOB, write=failing(error)) == Result("v", "failed", str(error))


def test_bad_disk_is_not_the_fault_of_the_video(tmp_path):
    full = failing(OSError(28, "No space left on device", "/store/v"))
    reason = "No space left on device: /store/v"
    assert convert_video(JOB, write=full) == Result("v", "unwritable", reason)
    gone = partial(os.stat, tmp_path / "gone")
    reason = f"No such file or directory: {tmp_path / 'gone'}"
    assert convert_video(("v", gone), write=full) == Result("v", "unwritable", reason)


def test_end_of_a_process_is_a_failure():
    assert conclude(JOB, Outcome("returned", Result("v", "ok"))) == Result("v", "ok")
    for status in ("raised", "crashed", "timeout"):
        result = conclude(JOB, Outcome(status, reason="why"))
        assert result == Result("v", "failed", f"{status}: why")
