import os

import pytest

from flow_extract.video.find_videos import find_videos, require_videos
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
        "b/README": "the file is empty (0 bytes)",
    }


def test_a_video_of_an_unknown_suffix_is_found_by_its_content(tree, make_video, tmp_path):
    tree("a.avi", "sound.dat")
    make_video(tmp_path / "videos" / "recorder.avi", frames=2).rename(tmp_path / "videos" / "r.dav")
    found = tree("b.avi")
    assert list(found.videos) == ["a", "b", "r.dav"]
    assert found.ignored == {"sound.dat": "the file is empty (0 bytes)"}


def test_one_name_with_two_suffixes_is_refused(tree):
    found = tree("a/v.avi", "a/v.mp4", "b/v.avi")
    assert list(found.videos) == ["b/v"]
    assert found.refused == {
        "a/v": "v.avi, v.mp4 would share one name; rename or remove all but one"
    }


def test_what_is_no_regular_file_is_skipped_by_name(tree, tmp_path):
    tree("a.avi", "none")
    root = tmp_path / "videos"
    os.mkfifo(root / "pipe.avi")
    os.mkfifo(root / "pipe")
    (root / "endless.avi").symlink_to("/dev/zero")
    (root / "round.avi").symlink_to("round.avi")
    (root / "list.m3u8").write_text("#EXTM3U\na.avi\n")
    (root / "list.ffconcat").write_text("ffconcat version 1.0\nfile a.avi\n")
    (root / "address").write_text("http://127.0.0.1:9/a.avi\n")
    (root / "gone.mp4").symlink_to("nowhere.mp4")
    (root / "link.avi").symlink_to("a.avi")
    found = tree()
    assert list(found.videos) == ["a", "link"]
    assert found.skipped == {
        "endless.avi": "not a regular file",
        "gone.mp4": "a broken link",
        "pipe": "not a regular file",
        "pipe.avi": "not a regular file",
        "round.avi": "a broken link",
    }
    assert found.ignored == {
        "address": "no video by its content",
        "list.ffconcat": "an ffconcat list of other files is no video; give these files",
        "list.m3u8": "an m3u8 playlist of other files is no video; give these files",
        "none": "the file is empty (0 bytes)",
    }


def test_what_may_hide_videos_is_skipped(tree, tmp_path, monkeypatch):
    tree("a.avi")
    links = ("more", "notes.txt", "frame.jpg")  # any of them may be that of a folder
    for link in links:
        (tmp_path / "videos" / link).symlink_to(tmp_path / "unmounted")
    (tmp_path / "videos" / "x.dat").write_bytes(b"data")
    module = "flow_extract.video.find_videos"
    monkeypatch.setattr(f"{module}.why_no_video", lambda _: "cannot be read: Permission denied")
    found = tree()
    assert (list(found.videos), found.ignored) == (["a"], {})
    assert found.skipped == {
        **dict.fromkeys(links, "a broken link"),
        "x.dat": "cannot be read: Permission denied",
    }


def test_what_is_hidden_is_passed_over(tree, tmp_path):
    found = tree("a.avi", ".trash/run/b.avi", "run/.b.avi", "run/.AppleDouble/c.avi")
    for link in (".#list.csv", "run/.more"):  # an editor's lock leads to no file
        (tmp_path / "videos" / link).symlink_to("user@host.1234")
    found = tree()
    assert list(found.videos) == ["a"]
    hidden = (".#list.csv", ".trash", "run/.AppleDouble", "run/.b.avi", "run/.more")
    assert found.ignored == dict.fromkeys(hidden, "hidden")
    assert (found.skipped, found.refused) == ({}, {})


def test_a_hidden_root_is_looked_into(tmp_path):
    (tmp_path / ".videos").mkdir()
    (tmp_path / ".videos" / "a.avi").touch()
    assert list(find_videos(tmp_path / ".videos", store=tmp_path / "store").videos) == ["a"]


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


def test_a_folder_of_numbered_pictures_is_a_video(tree, tmp_path):
    found = tree(
        "1/00001.jpg", "1/00002.jpg", "run/b.5s/img_7.PNG", "run/b.5s/img_8.PNG",
        "run/c.avi/frame-1.jpeg", "run/c.avi/Thumbs.db", "run/c.avi/cover.jpg",
    )  # fmt: skip
    root = tmp_path / "videos"
    assert found.videos == {
        "1": root / "1", "run/b.5s": root / "run" / "b.5s", "run/c": root / "run" / "c.avi",
    }  # fmt: skip
    assert found.ignored == {
        "run/c.avi/Thumbs.db": "the file is empty (0 bytes)",
        "run/c.avi/cover.jpg": "a .jpg file",
    }
    assert (found.refused, found.skipped) == ({}, {})


def test_pictures_beside_videos_are_no_video(tree):
    found = tree("run/a.avi", "run/thumb_1.jpg", "walk/a/00001.jpg", "walk/a.mp4", ".x/1.jpg")
    assert list(found.videos) == ["run/a", "walk/a"]
    assert found.videos["walk/a"].name == "a.mp4"
    assert found.ignored == {
        ".x": "hidden",
        "run/thumb_1.jpg": "a .jpg file",
        "walk/a": "pictures beside a.mp4, which is the video",
    }


def test_pictures_of_several_videos_are_refused_with_the_reason(tree):
    found = tree(
        "doubled/1.png", "doubled/01.png", "doubled/2.png",
        "flow/img_1.jpg", "flow/flow_x_1.jpg", "flow/flow_y_1.jpg",
        "clips/g01_c01.jpg", "clips/g01_c02.jpg", "clips/g02_c01.jpg",
        "two/frame1.jpg", "two/image1.jpg", "two/image2.jpg",
        "v.avi",
    )  # fmt: skip
    assert list(found.videos) == ["v"]
    assert found.refused == {
        "clips": "no number in their names tells the order of its 3 pictures, g01_c01.jpg, "
        "g01_c02.jpg, g02_c01.jpg; give those of each video a folder of their own",
        "doubled": "01.png and 1.png have the same number; remove one",
        "flow": "pictures of 3 kinds, flow_x_* (1), flow_y_* (1), img_* (1); frames with flow are "
        "read by `twostream convert-flow --from flow_xy`",
        "two": "pictures of 2 kinds, frame* (1), image* (2); a folder of pictures is one video: "
        "give each kind a folder of its own",
    }


def test_links_to_nothing_among_pictures_are_named(tree, tmp_path):
    tree("a/1.jpg", "a/2.jpg")
    (tmp_path / "videos" / "a" / "3.jpg").symlink_to("gone.jpg")
    found = tree()
    assert list(found.videos) == ["a"]
    assert found.skipped == {"a": "1 of 3 pictures are broken links, or no files: 3.jpg"}


def test_the_folder_of_one_video_is_not_the_folder_of_videos(tmp_path):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "00001.jpg").touch()
    with pytest.raises(InputError, match="are one video; give the folder above it") as caught:
        require_videos(tmp_path / "clip", store=tmp_path / "store")
    assert str(caught.value).endswith(str(tmp_path))


def test_one_picture_of_each_video_in_one_folder(shared_data, tmp_path):
    found = find_videos(shared_data / "ucf101-frames5", store=tmp_path)
    assert found.videos == {}
    classes = ["BrushingTeeth", "CuttingInKitchen", "JumpingJack", "Lunges", "WallPushups"]
    assert list(found.refused) == classes
    assert all("own" in reason for reason in found.refused.values())


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder of videos"):
        find_videos(tmp_path / "nowhere", store=tmp_path)
