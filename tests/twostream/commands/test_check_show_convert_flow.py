import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from flow_extract.extraction.one_video import Job, extract_video
from flow_extract.extraction.settings import extraction_settings
from flow_extract.layouts.layouts import LAYOUTS, QUANTISERS
from flow_extract.store.codecs import CODECS
from flow_extract.store.manifest import rebuild_manifest
from flow_extract.store.reader import entry_path
from twostream.cli import cli
from twostream.commands import convert_flow
from twostream.commands.option_types import CODEC_NAMES


def invoke(*arguments: object):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def store(make_video, tmp_path, monkeypatch):
    """A store of two videos, and the current folder beside it."""
    monkeypatch.chdir(tmp_path)
    settings = extraction_settings("dis", {}, bound=20.0, short_side=None)
    for name in ("a/v_1", "a/v_2"):
        video = make_video(tmp_path / "videos" / f"{name}.avi", frames=6)
        extract_video(Job(name, video, f"{name}.avi", tmp_path / "store", settings))
    rebuild_manifest(tmp_path / "store")
    return tmp_path / "store"


def test_names_are_those_of_the_dicts():
    assert tuple(LAYOUTS) == convert_flow.LAYOUT_NAMES
    assert tuple(CODECS) == CODEC_NAMES
    assert convert_flow.QUANTISERS == QUANTISERS


def test_check_of_a_sound_store(store):
    result = invoke("check-flow", "--store", "store", "--deep")
    assert (result.exit_code, result.output) == (
        0, "2 store files, 12 frames, 10 flow pairs; 0 things wrong; store store\n",
    )  # fmt: skip


def test_check_tells_of_repeated_frames(store, write_mjpg, tmp_path):
    write_mjpg(tmp_path / "videos" / "a" / "still.avi", np.zeros((4, 48, 64, 3), np.uint8))
    folders = ["--store", "store", "--videos", "videos"]
    for options, words in [([], "before them;"), (["--drop-repeated"], "and are not stored;")]:
        assert invoke("extract-flow", *folders, *options).exit_code == 0
        line = invoke("check-flow", "--store", "store").stdout.splitlines()[-1]
        assert line.startswith("repeated   3 frames repeat the one before them")
        assert words in line
        assert line.endswith("1 videos: a/still (3)")
    assert json.loads(invoke("check-flow", "--store", "store", "--json").stdout)["repeated"] == 3


def test_check_and_repair(store):
    entry_path(store, "a/v_2").unlink()
    result = invoke("check-flow", "--store", "store")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "1 store files, 6 frames, 5 flow pairs; 1 things wrong; store store",
        "missing    a/v_2: it has neither a store file nor a problem file",
    ]
    assert result.stderr == "next: twostream extract-flow\n"
    entry_path(store, "a/v_1").write_bytes(b"half")
    result = invoke("check-flow", "--store", "store", "--repair", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["removed"] == ["a/v_1"]
    result = invoke("check-flow", "--store", "store", "--json")
    assert json.loads(result.stdout)["missing"] == 2
    assert invoke("extract-flow", "--store", "store", "--videos", "videos").exit_code == 0
    assert invoke("check-flow", "--store", "store", "--deep").exit_code == 0


def test_check_finds_videos_that_were_never_extracted(store, make_video, tmp_path):
    make_video(tmp_path / "videos" / "b" / "new.avi", frames=2)
    result = invoke("check-flow", "--store", "store", "--videos", "videos", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["missing"] == 1
    assert found["findings"][0]["name"] == "b/new"


def test_pruning_gives_back_the_room_of_renamed_videos(store):
    """Nothing of it without all videos at hand."""
    Path("videos/a").rename("videos/b")
    folders = ["--store", "store", "--videos", "videos"]
    assert "check-flow --prune" in invoke("extract-flow", *folders).stdout
    line = invoke("check-flow", *folders).stdout.splitlines()[-1]
    assert line.startswith("orphan     2 store files, ")
    assert "--prune" in line
    assert line.endswith(": a/v_1, a/v_2")
    for lost in (Path("videos/lost.avi"), Path("videos/lost.txt")):  # that of a folder, maybe
        lost.symlink_to("nowhere")
        result = invoke("check-flow", *folders, "--prune")
        assert (result.exit_code, lost.name in result.stderr) == (2, True)
        lost.unlink()
    Path("videos/.#list.csv").symlink_to("user@host.1234")  # an editor's lock is no video
    result = invoke("check-flow", *folders, "--prune", "--json")
    assert (result.exit_code, json.loads(result.stdout)["pruned"]) == (0, ["a/v_1", "a/v_2"])
    assert invoke("check-flow", *folders, "--deep").stdout.startswith("2 store files, ")
    Path("empty").mkdir()
    for videos in ("empty", "absent"):
        result = invoke("check-flow", "--store", "store", "--videos", videos, "--prune")
        assert (result.exit_code, videos in result.stderr) == (2, True)
    assert invoke("check-flow", "--store", "store", "--prune").exit_code == 2


def test_pruning_takes_no_videos_of_another_store(store, make_video):
    """The project file's videos are those of its own store."""
    make_video(Path("mine/new.avi"), frames=2)
    Path("twostream.toml").write_text('videos = "mine"\nstore = "my-store"\n')
    result = invoke("check-flow", "--store", "store", "--prune")
    assert (result.exit_code, "type its --videos too" in result.stderr) == (2, True)
    result = invoke("check-flow", "--store", "store", "--videos", "mine", "--prune")
    assert (result.exit_code, "2 of its 2 videos" in result.stderr) == (2, True)
    assert entry_path(store, "a/v_1").exists()
    Path("twostream.toml").write_text('videos = "videos"\nstore = "store"\n')
    Path("videos/a/v_1.avi").unlink()
    entry_path(store, "a/v_1").write_bytes(b"half")
    result = invoke("check-flow", "--prune", "--repair", "--json")
    found = json.loads(result.stdout)
    assert (found["pruned"], found["removed"]) == (["a/v_1"], [])


def test_check_without_the_videos_says_so(store):
    shutil.rmtree("videos")
    result = invoke("check-flow", "--store", "store", "--videos", "videos")
    assert result.exit_code == 0
    assert "videos: no such folder of videos" in result.stderr


def test_show_from_the_store_and_from_a_file(store, tmp_path):
    result = invoke("show-flow", "a/v_1", "--store", "store")
    assert result.exit_code == 0, result.output
    assert result.output == "v_1-flow.png: 4 of 5 pairs; scale 2 px per frame\n"
    with Image.open("v_1-flow.png") as picture:
        assert picture.format == "PNG"
    arguments = ["--method", "farneback", "--frames", "1:3", "--out", "x.gif"]
    result = invoke("show-flow", "videos/a/v_1.avi", *arguments)
    assert result.exit_code == 0, result.output
    with Image.open("x.gif") as film:
        assert film.n_frames == 2
    result = invoke("show-flow", Path("videos/a/v_1.avi").absolute(), "--store", "store")
    assert result.exit_code == 0, result.output
    result = invoke("show-flow", "/nowhere/v.avi", "--store", "store")
    assert "no video of this name in store, and no such file" in result.output


def test_show_a_folder_of_pictures(store, tmp_path):
    invoke("convert-flow", "store", "tree", "--from", "store", "--to", "xy")
    for path in (tmp_path / "tree" / "a" / "v_1").glob("[xy]_*.jpg"):
        path.unlink()
    result = invoke("show-flow", "tree/a/v_1")
    assert result.exit_code == 0, result.output
    assert result.output == "v_1-flow.png: 4 of 5 pairs; scale 2 px per frame\n"
    result = invoke("show-flow", "tree/a")
    assert "'tree/a': no --store to look into, and no such file" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a/v_9", "--store", "store"], "no video of this name in store, and no such file"),
        (["a/v_9"], "no --store to look into, and no such file"),
        (["notes.txt"], "notes.txt: not readable as a video"),
        (["a/v_1", "--store", "store", "--frames", "99"], "flow from frames 0 to 4"),
        (["a/v_1", "--store", "store", "--out", "x.webp"], "write a .png, .gif or .mp4"),
    ],
)
def test_show_wrongly(store, tmp_path, arguments, message):
    (tmp_path / "notes.txt").write_text("no video")
    result = invoke("show-flow", *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_convert_there_and_back(store):
    result = invoke("convert-flow", "store", "tree", "--from", "store", "--to", "xy")
    assert (result.exit_code, result.output) == (
        0, "2 videos: 2 done now, 0 already done, 0 damaged, 0 failed; in tree\n",
    )  # fmt: skip
    back = ["convert-flow", "tree", "back", "--from", "xy", "--to", "store", "--codec", "raw"]
    assert invoke(*back).exit_code == 0
    result = invoke(*back, "--json")
    assert json.loads(result.stdout) == {
        "videos": 2, "done_now": 0, "already_done": 2, "damaged": 0, "failed": 0,
        "dest": "back", "problems": [],
    }  # fmt: skip
    assert invoke("check-flow", "--store", "back", "--deep").exit_code == 0


def test_convert_lists_what_fails(store, tmp_path):
    invoke("convert-flow", "store", "tree", "--from", "store", "--to", "uv")
    (tmp_path / "tree" / "v" / "a" / "v_2" / "frame000003.jpg").unlink()
    result = invoke("convert-flow", "tree", "back", "--from", "uv", "--to", "store")
    assert result.exit_code == 1
    first, second = result.output.splitlines()
    assert first.startswith("2 videos: 1 done now, 0 already done, 0 damaged, 1 failed")
    assert second.startswith("failed    a/v_2: ")
    assert "missing, numbers 3; extract this video again" in second
    assert invoke("check-flow", "--store", "back").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["store", "store", "--from", "store", "--to", "xy"], "another DEST"),
        (["store", "t", "--from", "store", "--to", "xy", "--codec", "raw"], "--codec"),
        (["store", "t", "--from", "store", "--to", "xy", "--bound", 10], "--bound"),
        (["store", "t", "--from", "store", "--to", "store", "--quantiser", "ours"], "--quantiser"),
        (["store", "t", "--from", "store", "--to", "zip"], "'zip' is not one of"),
        (["videos", "t", "--from", "xy", "--to", "store"], "no pictures"),
        (["nowhere", "t", "--from", "uv", "--to", "store"], "looked for rgb/VIDEO/frame*.jpg"),
        (["videos", "t", "--from", "store", "--to", "uv"], "no store files there"),
    ],
)
def test_convert_wrongly(store, arguments, message):
    result = invoke("convert-flow", *arguments)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())
