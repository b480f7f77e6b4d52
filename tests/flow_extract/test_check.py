import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flow_extract.check import check_store, common_settings
from flow_extract.extract import Job, extract_video, record_problem
from flow_extract.locks import lock_path, locked
from flow_extract.manifest import rebuild_manifest
from flow_extract.problems import problem_path
from flow_extract.repair import repair_store
from flow_extract.settings import extraction_settings
from flow_extract.store import entry_path, read_header, recorded_settings
from twostream.errors import InputError
from twostream.files import sha256_file

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


@pytest.mark.parametrize("deep", [False, True])
def test_sound_store(store, deep, settings):
    check = check_store(store, deep=deep, progress=silent)
    assert check.counts() == {"files": 3, "frames": 15, "flows": 12}
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


def mend(store, check, tmp_path):
    return repair_store(
        store, check, videos=tmp_path / "videos", workers=2, timeout=60, progress=silent
    )


def test_repair_makes_the_same_files_again_and_touches_no_other(
    store, make_job, extract, settings, tmp_path
):
    for n in range(4, 8):
        shutil.copy(tmp_path / "videos" / "a" / "v_1.avi", tmp_path / "videos" / f"v_{n}.avi")
        extract(f"v_{n}", settings)
    rebuild_manifest(store)
    before = {path: sha256_file(path) for path in store.rglob("*.safetensors")}
    times = {path: path.stat().st_mtime_ns for path in before}
    entry_path(store, "a/v_1").unlink()
    data = bytearray(entry_path(store, "a/v_2").read_bytes())
    data[-100] ^= 4
    entry_path(store, "a/v_2").write_bytes(data)
    extract("b/v_3", extraction_settings("dis", {}, bound=10.0, short_side=None))
    job = Job("v_4", tmp_path / "videos" / "v_4.avi", "v_4.avi", store, settings)
    record_problem(job, status="crashed", reason="out of memory")
    (store / ".part-99999999-abcd").touch()
    check = check_store(store, deep=True, progress=silent)
    assert [finding.kind for finding in check.findings] == [
        "leftover", "missing", "content", "settings", "crashed",
    ]  # fmt: skip
    results, remaining = mend(store, check, tmp_path)
    assert sorted(r.name for r in results) == ["a/v_1", "a/v_2", "b/v_3", "v_4"]
    assert not problem_path(store, "v_4").exists()
    assert {path: sha256_file(path) for path in before} == before
    untouched = [entry_path(store, f"v_{n}") for n in (5, 6, 7)]
    assert all(path.stat().st_mtime_ns == times[path] for path in untouched)
    assert [f.kind for f in remaining.findings] in ([], ["leftover"])
    assert [kind for _, kind in look(store, deep=True)] == [f.kind for f in remaining.findings]


def test_repair_leaves_a_video_alone_that_an_extraction_is_at(store, tmp_path):
    for name in ("a/v_1", "a/v_2"):
        entry_path(store, name).unlink()
    check = check_store(store, progress=silent)
    with locked(lock_path(store, "a/v_1")):
        results, remaining = mend(store, check, tmp_path)
    assert {r.name: r.status for r in results} == {"a/v_1": "busy", "a/v_2": "ok"}
    (finding,) = remaining.findings
    assert (finding.name, finding.kind) == ("a/v_1", "missing")
    assert "another process is at this video" in finding.reason
    assert not entry_path(store, "a/v_1").exists()


def test_what_cannot_be_repaired_remains(store, tmp_path):
    (tmp_path / "videos" / "a" / "v_1.avi").write_text("no video any more")
    (tmp_path / "videos" / "a" / "v_2.avi").unlink()
    for name in ("a/v_1", "a/v_2"):
        entry_path(store, name).unlink()
    results, remaining = mend(store, check_store(store, progress=silent), tmp_path)
    reasons = {result.name: result.reason for result in results}
    assert reasons["a/v_1"].startswith("not readable as a video")
    assert reasons["a/v_2"].startswith("no video of this name below")
    assert [finding.name for finding in remaining.findings] == ["a/v_1", "a/v_2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"opencv": "1.0"}, "made with OpenCV 1.0"), ({"tree": {}}, "was converted"),
     ({"recoded_from": "raw"}, "was converted")],
)  # fmt: skip
def test_store_whose_settings_cannot_be_had_here(store, tmp_path, change, message):
    check = check_store(store, expected=["new"], progress=silent)
    for header in check.headers.values():
        header.update(change)
    with pytest.raises(InputError, match=message):
        mend(store, check, tmp_path)


def test_settings_of_nothing(tmp_path):
    with pytest.raises(InputError, match="no readable store file"):
        common_settings({})


def test_recorded_settings_are_those_of_the_job(store, settings):
    assert recorded_settings(read_header(entry_path(store, "a/v_1"))) == settings
