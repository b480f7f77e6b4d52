import json

import pytest

from flow_extract.extraction.one_video import extract_video
from flow_extract.store.header import settings_hash
from flow_extract.store.manifest import header_digest, read_problem, rebuild_manifest, write_problem
from flow_extract.store.reader import PROBLEM_SUFFIX, entry_path, read_header
from twostream_base.errors import InputError


@pytest.fixture
def store(make_video, make_job, tmp_path):
    """A store with two videos, one of them failed."""
    (tmp_path / "bad.avi").write_text("no video")
    extract_video(make_job(tmp_path / "bad.avi"))
    job = make_job(make_video(tmp_path / "good.avi", frames=3))
    extract_video(job)
    return job.store


def test_lines(store, make_job, tmp_path):
    lines = rebuild_manifest(store)
    written = (store / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == lines
    bad, good = lines
    assert (bad["name"], bad["status"], bad["counts"]) == ("bad", "failed", None)
    assert bad["reason"].startswith("not readable as a video")
    assert (good["name"], good["status"], good["reason"]) == ("good", "ok", "")
    assert good["counts"] == {"promised": 3, "frames": 3, "flows": 2, "repeated": 0}
    assert good["header_sha256"] == header_digest(read_header(store / "good.safetensors"))
    assert good["settings_hash"] == settings_hash(make_job(tmp_path / "good.avi").settings)


def test_rebuilt_from_nothing_or_rubbish_it_is_the_same(store):
    rebuild_manifest(store)
    path = store / "manifest.jsonl"
    first = path.read_bytes()
    for damage in (None, b"", b"\xff\xfe", b"[1]\n", b"{}\n", first[:50]):
        path.unlink() if damage is None else path.write_bytes(damage)
        rebuild_manifest(store)
        assert path.read_bytes() == first


def test_file_that_cannot_be_read_has_a_line(store):
    (store / "good.safetensors").write_bytes(b"half")
    (store / "bad.problem.json").write_text("{")
    assert [line["status"] for line in rebuild_manifest(store)] == ["unreadable", "unreadable"]


SOURCE = {"path": "class/v.avi", "size": 3, "mtime_ns": 4}
FACTS = {"status": "failed", "reason": "no frame", "source": SOURCE, "settings_hash": "abc"}


def test_round_trip(tmp_path):
    write_problem(tmp_path, "class/v", **FACTS)
    path = entry_path(tmp_path, "class/v", PROBLEM_SUFFIX)
    assert path == tmp_path / "class" / "v.problem.json"
    assert read_problem(path) == FACTS | {"name": "class/v"}


def test_takes_the_place_of_the_store_file(tmp_path):
    entry_path(tmp_path, "v").touch()
    write_problem(tmp_path, "v", **FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["v.problem.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "v"}'])
def test_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "v.problem.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"v\.problem\.json: not a valid problem file"):
        read_problem(path)
