import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flow_extract.extraction.folder import extract_folder
from flow_extract.extraction.one_video import Job, extract_video
from flow_extract.extraction.settings import extraction_settings
from flow_extract.store.check import check_store, common_settings, drop_bad, prune
from flow_extract.store.header import recorded_settings
from flow_extract.store.locks import locked
from flow_extract.store.manifest import rebuild_manifest, write_problem
from flow_extract.store.reader import entry_path, read_header
from twostream_base.errors import InputError
from twostream_base.files import sha256_file

NAMES = ["a/v_1", "a/v_2", "b/v_3"]


def silent(items, *, total):
    return items


def look(store, **options):
    check = check_store(store, progress=silent, **options)
    return [(finding.name, finding.kind) for finding in check.findings]


@pytest.fixture(scope="module")
def settings():
    return extraction_settings("dis", {}, bound=20.0, short_side=None)


@pytest.fixture
def extract(tmp_path):
    def run(name, settings):
        video = tmp_path / "videos" / f"{name}.avi"
        return extract_video(Job(name, video, f"{name}.avi", tmp_path / "store", settings))

    return run


@pytest.fixture
def store(make_video, extract, settings, tmp_path):
    for seed, name in enumerate(NAMES):
        make_video(tmp_path / "videos" / f"{name}.avi", frames=5, seed=seed)
        assert extract(name, settings).status == "ok"
    rebuild_manifest(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def extract_all(settings, tmp_path):
    def run():
        return extract_folder(
            tmp_path / "videos",
            tmp_path / "store",
            settings=settings,
            workers=2,
            timeout=60,
            progress=silent,
        )

    return run


@pytest.mark.parametrize("deep", [False, True])
def test_sound_store(store, deep, settings):
    check = check_store(store, deep=deep, progress=silent)
    assert check.counts() == {"files": 3, "frames": 15, "flows": 12, "repeated": 0}
    assert check.findings == []
    assert common_settings(check.headers) == settings, "a header records its settings whole"


def test_one_flipped_bit_in_each_of_twenty_files_is_found(store, tmp_path):
    """Anywhere: in the length, the table, the header, the offsets, frames and flow."""
    rng = np.random.default_rng(20)
    for n in range(20):
        copy = tmp_path / f"copy{n}"
        shutil.copytree(store, copy)
        path = entry_path(copy, NAMES[n % 3])
        data = bytearray(path.read_bytes())
        header_end = 8 + int.from_bytes(data[:8], "little")
        # Half of them in the first part, which is small.
        place = int(rng.integers(header_end)) if n % 2 else int(rng.integers(header_end, len(data)))
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        found = look(copy, deep=True)
        assert NAMES[n % 3] in [name for name, _ in found], (n, place)


def test_changed_data_is_found_by_deep_alone(store):
    path = entry_path(store, "a/v_2")
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)
    assert look(store) == []
    (finding,) = check_store(store, deep=True, progress=silent).findings
    assert (finding.name, finding.kind) == ("a/v_2", "content")
    assert finding.reason == "its rgb changed after it was written (sha256)"


def test_files_that_are_gone(store, tmp_path):
    entry_path(store, "a/v_1").unlink()
    assert look(store) == [("a/v_1", "missing")]
    assert look(store, expected=["c/new", *NAMES]) == [("a/v_1", "missing"), ("c/new", "missing")]
    (store / "manifest.jsonl").unlink()
    assert look(store) == []


def test_store_files_of_videos_that_are_gone_are_no_fault(store):
    check = check_store(store, expected=["a/v_1", "c/new"], progress=silent)
    orphans = [finding.name for finding in check.findings if finding.kind == "orphan"]
    assert orphans == [name for name in NAMES if name != "a/v_1"]
    assert [finding.name for finding in check.wrong()] == ["c/new"]
    with locked(store, orphans[0]):
        assert prune(store, check) == orphans[1:]
    assert look(store) == []
    assert look(store, expected=["a/v_1"]) == [(orphans[0], "orphan")]


def test_pruning_leaves_what_was_written_since_the_check(store):
    check = check_store(store, expected=NAMES[:1], progress=silent)
    path = entry_path(store, NAMES[1])
    os.utime(path, ns=(1, 1))
    assert prune(store, check) == NAMES[2:]
    assert path.exists()


def test_problem_files_of_videos_that_are_gone_are_orphans(store):
    facts = {"source": {"path": "gone.avi", "size": 1, "mtime_ns": 1}, "settings_hash": "0"}
    write_problem(store, "gone", status="failed", reason="no frame", **facts)
    assert ("gone", "failed") in look(store)
    check = check_store(store, expected=NAMES, progress=silent)
    assert [(item.name, item.kind) for item in check.findings] == [("gone", "orphan")]
    assert check.wrong() == []
    assert prune(store, check) == ["gone"]
    assert look(store, expected=NAMES) == []


def test_names_that_are_one_file_are_no_orphans(store, monkeypatch):
    monkeypatch.setattr("flow_extract.store.check.names_are_one", lambda _: str.casefold)
    assert look(store, expected=[name.upper() for name in NAMES]) == []


def test_cut_file(store):
    path = entry_path(store, "a/v_1")
    path.write_bytes(path.read_bytes()[:-1])
    assert look(store) == [("a/v_1", "unreadable")]


def test_file_under_another_name(store):
    entry_path(store, "a/v_1").rename(entry_path(store, "a/v_9"))
    assert look(store) == [("a/v_1", "missing"), ("a/v_9", "misnamed")]


def test_settings_unlike_most(store, extract):
    extract("a/v_1", extraction_settings("dis", {}, bound=10.0, short_side=None))
    rebuild_manifest(store)
    (finding,) = check_store(store, progress=silent).findings
    assert (finding.name, finding.kind) == ("a/v_1", "settings")
    assert '"bound": 10.0' in finding.reason
    assert "codec" not in finding.reason, "only what differs is told"


@pytest.mark.parametrize(
    "change", [{"fps": 24}, {"reason": "none"}, {"source": {}}, {"short_side": 7}]
)
def test_changed_header(store, change):
    path = entry_path(store, "a/v_1")
    header = read_header(path) | change
    save_file(load_file(path), path, {"twostream": json.dumps(header)})
    assert ("a/v_1", "header") in look(store)


def test_failed_and_damaged_videos_are_listed(store, make_video, extract, settings, tmp_path):
    (tmp_path / "videos" / "bad.avi").write_text("no video")
    extract("bad", settings)
    video = make_video(tmp_path / "videos" / "short.avi", frames=30)
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    assert extract("short", settings).status == "damaged"
    check = check_store(store, progress=silent)
    assert [(f.name, f.kind) for f in check.findings] == [("bad", "failed"), ("short", "damaged")]
    assert [finding.name for finding in check.wrong()] == ["bad"]


def test_video_in_which_nothing_happens(store, write_mjpg, extract, settings, tmp_path):
    write_mjpg(tmp_path / "videos" / "still.avi", np.full((4, 48, 64, 3), 90, np.uint8))
    write_mjpg(tmp_path / "videos" / "two.avi", np.full((1, 48, 64, 3), 90, np.uint8))
    extract("still", settings)
    extract("two", settings)
    check = check_store(store, deep=True, progress=silent)
    assert [(f.name, f.kind, f.reason) for f in check.findings] == [
        ("still", "still", "its 4 frames are all the same picture"),
        ("still", "still", "its 3 flow pairs are all the same picture"),
    ]


def test_leftovers_and_a_broken_manifest(store):
    (store / "a" / ".part-99999999-abcd").touch()
    (store / "manifest.jsonl").write_text("{")
    assert look(store) == [("a/.part-99999999-abcd", "leftover"), ("manifest.jsonl", "manifest")]


def test_absent_library_is_no_fault_of_the_file(store, monkeypatch):
    path = entry_path(store, "a/v_1")
    header = read_header(path) | {"codec": "lz4"}
    save_file(load_file(path), path, {"twostream": json.dumps(header)})
    monkeypatch.setitem(__import__("sys").modules, "lz4.block", None)
    with pytest.raises(InputError, match="pip install lz4"):
        look(store)


def test_no_store(tmp_path):
    with pytest.raises(InputError, match="no such store"):
        look(tmp_path / "nowhere")


def test_dropping_what_is_bad_and_extracting_makes_the_same_store(
    store, extract_all, extract, tmp_path
):
    before = {path: sha256_file(path) for path in store.rglob("*.safetensors")}
    kept = entry_path(store, "a/v_1")
    written = kept.stat().st_mtime_ns
    data = bytearray(entry_path(store, "a/v_2").read_bytes())
    data[-100] ^= 4
    entry_path(store, "a/v_2").write_bytes(data)
    entry_path(store, "b/v_3").write_bytes(b"half")
    (store / ".part-99999999-abcd").touch()
    check = check_store(store, deep=True, progress=silent)
    assert [finding.kind for finding in check.findings] == ["leftover", "content", "unreadable"]
    assert drop_bad(store, check) == ["a/v_2", "b/v_3"]
    assert look(store) == [
        (".part-99999999-abcd", "leftover"), ("a/v_2", "missing"), ("b/v_3", "missing"),
    ]  # fmt: skip
    extract_all()
    assert {path: sha256_file(path) for path in before} == before
    assert kept.stat().st_mtime_ns == written
    assert [kind for _, kind in look(store, deep=True)] == ["leftover"]


def test_what_another_process_works_on_is_not_dropped(store):
    entry_path(store, "a/v_1").write_bytes(b"half")
    with locked(store, "a/v_1"):
        assert drop_bad(store, check_store(store, progress=silent)) == []
    assert entry_path(store, "a/v_1").exists()


def test_what_an_extraction_sees_by_itself_is_not_dropped(store, extract, settings, tmp_path):
    """Other settings, and a video that failed."""
    (tmp_path / "videos" / "bad.avi").write_text("no video")
    extract("bad", settings)
    extract("a/v_1", extraction_settings("dis", {}, bound=10.0, short_side=None))
    check = check_store(store, progress=silent)
    assert [finding.kind for finding in check.wrong()] == ["settings", "failed"]
    assert drop_bad(store, check) == []


def test_settings_of_nothing(tmp_path):
    with pytest.raises(InputError, match="no readable store file"):
        common_settings({})


def test_recorded_settings_are_those_of_the_job(store, settings):
    assert recorded_settings(read_header(entry_path(store, "a/v_1"))) == settings
