import os
import subprocess
import sys

import pytest

from flow_extract.extract import Result, extract_video, record_problem
from flow_extract.plan import remove_leftovers, settled_result
from flow_extract.problems import problem_path
from flow_extract.store import entry_path


@pytest.fixture
def job(make_video, make_job, tmp_path):
    return make_job(make_video(tmp_path / "v.avi", frames=2))


def test_new_video_is_to_be_done(job):
    assert settled_result(job) is None


def test_stored_video_is_settled(job):
    extract_video(job)
    assert settled_result(job) == Result("v", "ok", "")


def test_problem_is_settled(job):
    record_problem(job, status="timeout", reason="after 5 s")
    assert settled_result(job) == Result("v", "timeout", "after 5 s")


def test_changed_video_or_settings_are_to_be_done(job, make_job):
    extract_video(job)
    assert settled_result(make_job(job.video, bound=10.0)) is None
    os.utime(job.video, ns=(0, 10**18))
    assert settled_result(job) is None


def test_unreadable_files_are_done_again(job):
    extract_video(job)
    entry_path(job.store, "v").write_bytes(b"half")
    assert settled_result(job) is None
    problem_path(job.store, "v").write_text("{")
    assert settled_result(job) is None


def test_of_two_files_the_one_that_counts_stays(job, make_job):
    extract_video(job)
    problem_path(job.store, "v").write_text("{}")
    assert settled_result(job).status == "ok"
    assert not problem_path(job.store, "v").exists()

    content = entry_path(job.store, "v").read_bytes()
    other = make_job(job.video, bound=10.0)
    record_problem(other, status="failed", reason="no")
    entry_path(job.store, "v").write_bytes(content)
    assert settled_result(other).status == "failed"
    assert not entry_path(job.store, "v").exists()


def test_leftovers_of_dead_runs_go_and_those_of_the_living_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "class").mkdir()
    old = tmp_path / "class" / f".part-{os.getpid()}-0000aaaa"
    leftover = tmp_path / "class" / f".part-{dead.pid}-0000bbbb"
    strange = tmp_path / ".part-strange"
    fresh = tmp_path / f".part-{os.getpid()}-0000cccc"
    others = [tmp_path / "v.safetensors", tmp_path / "part-1"]
    for path in (old, leftover, strange, fresh, *others):
        path.touch()
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        [fresh, *others]
    )
