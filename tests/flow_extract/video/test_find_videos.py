import os

import pytest

from flow_extract.video.find_videos import find_videos
from twostream_base.errors import InputError


@pytest.fixture
def tree(tmp_path):
    """A function that makes files below `videos`, and one that looks for them."""
    root = tmp_path / "videos"

    def make(*paths):
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        return find_videos(root, store=tmp_path / "store")

    return make


def test_names_are_paths_without_suffix_in_order(tree, tmp_path):
    found = tree("b/v_2.avi", "b/v_1.AVI", "a.b.mp4", "c/d/e.webm")
    assert list(found.videos) == ["a.b", "b/v_1", "b/v_2", "c/d/e"]
    assert found.videos["b/v_1"] == tmp_path / "videos" / "b" / "v_1.AVI"
    assert (found.refused, found.skipped, found.ignored) == ({}, {}, {})


def test_every_known_suffix(tree):
    known = ["avi", "mp4", "mkv", "mov", "webm", "mpg", "mpeg", "m4v", "wmv", "flv", "3gp", "ogv"]
    known += ["ts", "mts", "m2ts", "vob", "asf", "gif", "3g2", "mxf", "f4v", "divx"]
    assert list(tree(*[f"{suffix}/v.{suffix}" for suffix in known]).videos) == sorted(
        f"{suffix}/v" for suffix in known
    )


def test_other_files_are_ignored_with_the_reason(tree):
    found = tree("a.avi", "a.txt", "b/._a.avi", "b/README")
    assert list(found.videos) == ["a"]
    assert found.ignored == {
        "a.txt": "a .txt file",
        "b/._a.avi": "hidden",
        "b/README": "no video by its content",
    }


def test_a_video_of_an_unknown_suffix_is_found_by_its_content(tree, make_video, tmp_path):
    tree("a.avi", "sound.dat")
    make_video(tmp_path / "videos" / "recorder.avi", frames=2).rename(tmp_path / "videos" / "r.dav")
    found = tree("b.avi")
    assert list(found.videos) == ["a", "b", "r.dav"]
    assert found.ignored == {"sound.dat": "no video by its content"}


def test_one_name_with_two_suffixes_is_refused(tree):
    found = tree("a/v.avi", "a/v.mp4", "b/v.avi")
    assert list(found.videos) == ["b/v"]
    assert found.refused == {
        "a/v": "v.avi, v.mp4 would share one name; rename or remove all but one"
    }


def test_what_is_no_regular_file_is_skipped_by_name(tree, tmp_path):
    tree("a.avi")
    root = tmp_path / "videos"
    os.mkfifo(root / "pipe.avi")
    (root / "gone.mp4").symlink_to("nowhere.mp4")
    (root / "link.avi").symlink_to("a.avi")
    found = tree()
    assert list(found.videos) == ["a", "link"]
    assert found.skipped == {"gone.mp4": "a link to nothing", "pipe.avi": "not a regular file"}


def test_folder_links_are_followed_but_never_round_in_circles(tree, tmp_path):
    tree("a/v.avi")
    root = tmp_path / "videos"
    (root / "other").symlink_to("a")
    (root / "a" / "up").symlink_to("..")
    (root / "self").symlink_to("self")
    found = tree()
    assert list(found.videos) == ["a/v", "other/v"]
    assert set(found.skipped) >= {"a/up"}
    assert "back to a folder above" in found.skipped["a/up"]


def test_names_too_long_for_a_store_file(tree):
    found = tree("x" * 242 + ".avi", "y" * 243 + ".avi", "ü" * 122 + ".avi")
    assert list(found.videos) == ["x" * 242]
    assert found.refused["y" * 243] == "its name is 1 byte(s) too long for a store file; shorten it"
    assert "2 byte(s) too long" in found.refused["ü" * 122]


def test_name_that_is_no_text_is_refused(tree, tmp_path):
    tree("a.avi")
    try:
        (tmp_path / "videos" / os.fsdecode(b"\xff.avi")).touch()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    found = tree()
    assert list(found.videos) == ["a"]
    assert found.refused == {"\\xff.avi": "its name is not UTF-8; rename it"}


def test_store_folder_that_leads_elsewhere(tree, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a").symlink_to(tmp_path)
    found = tree("a/v.avi", "b.avi")
    assert list(found.videos) == ["b"]
    assert "leads out of" in found.refused["a/v"]


def test_names_that_are_hard_to_handle(tree):
    names = ["with space", "-dash", "ünï", "u\u0308", "new\nline", "quo'te\"s", "%d", "a;b", "日本"]
    assert sorted(tree(*[f"{name}.avi" for name in names]).videos) == sorted(names)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder of videos"):
        find_videos(tmp_path / "nowhere", store=tmp_path)
