import os
from dataclasses import replace

import pytest

from flow_extract.extraction.executor import Outcome
from flow_extract.extraction.one_video import (
    Result,
    extract_video,
    record_problem,
)
from flow_extract.extraction.resume import (
    claim,
    problem_to_retry,
    record_outcome,
    up_to_date,
)
from flow_extract.store.locks import locked, remove_leftovers
from flow_extract.store.manifest import problem_path
from flow_extract.store.reader import entry_path


def take_on(job):
    """What an executor does with a job."""
    with claim(job) as result:
        return result or extract_video(job)


@pytest.fixture
def job(make_video, make_job, tmp_path):
    return make_job(make_video(tmp_path / "v.avi", frames=2))


def test_new_video_is_to_be_done(job):
    assert up_to_date(job) is None


def test_stored_video_is_reused(job):
    extract_video(job)
    assert up_to_date(job) == Result("v", "ok", reused=True)


def test_problem_is_reused(job):
    record_problem(job, status="timeout", reason="after 5 s")
    assert up_to_date(job) == Result("v", "timeout", "after 5 s", reused=True)


def test_changed_video_or_settings_are_to_be_done(job, make_job):
    extract_video(job)
    assert up_to_date(make_job(job.video, bound=10.0)) is None
    os.utime(job.video, ns=(0, 10**18))
    assert up_to_date(job) is None


def test_unreadable_files_are_done_again(job):
    extract_video(job)
    entry_path(job.store, "v").write_bytes(b"half")
    assert up_to_date(job) is None
    problem_path(job.store, "v").write_text("{")
    assert up_to_date(job) is None


def test_of_two_files_the_one_that_counts_stays(job, make_job):
    extract_video(job)
    problem_path(job.store, "v").write_text("{}")
    assert up_to_date(job).status == "ok"
    assert not problem_path(job.store, "v").exists()

    content = entry_path(job.store, "v").read_bytes()
    other = make_job(job.video, bound=10.0)
    record_problem(other, status="failed", reason="no")
    entry_path(job.store, "v").write_bytes(content)
    assert up_to_date(other).status == "failed"
    assert not entry_path(job.store, "v").exists()


def test_sly_change_of_a_video_is_found_by_its_content(job):
    extract_video(job)
    data, written = job.video.read_bytes(), job.video.stat().st_mtime_ns
    job.video.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(job.video, ns=(written, written))
    assert up_to_date(job) is not None
    assert up_to_date(replace(job, verify_checksum=True)) is None
    job.video.unlink()
    assert up_to_date(replace(job, verify_checksum=True)) is None


def test_taking_on_extracts_once(job):
    assert take_on(job) == Result("v", "ok")
    assert take_on(job) == Result("v", "ok", reused=True)
    remove_leftovers(job.store)
    assert [path.name for path in job.store.iterdir()] == ["v.safetensors"]


@pytest.fixture(autouse=True)
def store(tmp_path):
    (tmp_path / "store").mkdir()


def test_what_another_process_is_at_is_busy(job):
    with locked(job.store, "v"):
        assert take_on(job) == Result("v", "busy")
    assert take_on(job) == Result("v", "ok")


def test_store_that_is_not_seen_here_is_not_made(job):
    job.store.rmdir()
    result = take_on(job)
    assert result.status == "unwritable"
    assert str(job.store) in result.reason
    assert not job.store.exists()


def test_store_that_cannot_be_written(job, monkeypatch):
    def full(path, *_, **__):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "mkdir", full)
    folder = job.store / ".locks"
    assert take_on(job) == Result("v", "unwritable", f"No space left on device: {folder}")
    assert list(job.store.iterdir()) == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("raised", "failed"), ("crashed", "crashed"), ("timeout", "timeout"), ("lost", "crashed")],
)
def test_end_of_a_process_is_recorded(job, outcome, status):
    result = record_outcome(job, Outcome(outcome, reason="why"))
    assert result == Result("v", status, "why")
    assert up_to_date(job) == replace(result, reused=True)


def test_value_of_a_job_is_its_result(job):
    assert record_outcome(job, Outcome("returned", Result("v", "ok"))) == Result("v", "ok")


@pytest.mark.parametrize(
    ("status", "retry_failed", "again"),
    [
        ("failed", False, False),
        ("failed", True, True),
        ("crashed", False, True),
        ("timeout", False, True),
    ],
)
def test_which_problems_are_tried_again(job, status, retry_failed, again):
    record_problem(job, status=status, reason="why")
    found = up_to_date(job)
    written = problem_to_retry(job, found, retry_failed=retry_failed)
    assert (written is not None) == again
    assert (up_to_date(replace(job, ignore_problem_from=written)) is None) == again


def test_problem_that_another_process_has_just_met_again_is_not_tried_again(job):
    record_problem(job, status="crashed", reason="before")
    written = problem_to_retry(job, up_to_date(job), retry_failed=False)
    os.utime(problem_path(job.store, "v"), ns=(0, written + 1))
    assert up_to_date(replace(job, ignore_problem_from=written)).status == "crashed"
