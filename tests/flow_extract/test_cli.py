"""The command as a user runs it: in a process of its own, interrupted in every way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from flow_extract.cli import read_option
from flow_extract.store import scan_store
from twostream.cli import cli
from twostream.files import sha256_file

ROOT = Path(__file__).parents[2]
SLOW_METHOD = """
import os, pathlib, time
from flow_extract.methods import FLOW_METHODS
def make():
    def flow(frames):
        if frames.shape[1] > 32:  # not the trial of the settings
            pathlib.Path("started", str(os.getpid())).touch()
            time.sleep(100)
        return FLOW_METHODS["dis"]()(frames)
    return flow
def crash():
    def flow(frames):
        if frames.shape[1] > 48:
            os.kill(os.getpid(), 9)
        return FLOW_METHODS["dis"]()(frames)
    return flow
"""


@pytest.fixture
def videos(make_video, tmp_path):
    for n in range(12):
        make_video(tmp_path / "videos" / f"class{n % 3}" / f"v{n}.avi", frames=20 + n, seed=n)
    return tmp_path / "videos"


@pytest.fixture
def start(tmp_path):
    """Start `twostream extract-flow` on `videos` in a process group of its own."""

    def run(store, *options):
        command = [sys.executable, "-m", "twostream", "extract-flow", "--jobs", "2"]
        command += ["--videos", "videos", "--store", str(store), *options]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def processes_of(session: int) -> list[int]:
    """Living processes that were started by, or under, the leader of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def test_run_and_run_again(videos, tmp_path, start):
    first, errors = start("store").communicate()
    assert first == (
        "12 videos: 12 done now, 0 already done, 0 damaged, 0 failed; store store\n"
    ), errors
    before = digests(tmp_path / "store")
    assert len(before) == 13
    second, _ = start("store").communicate()
    assert second == "12 videos: 0 done now, 12 already done, 0 damaged, 0 failed; store store\n"
    assert digests(tmp_path / "store") == before


def test_killed_five_times_the_store_is_that_of_an_undisturbed_run(videos, tmp_path, start):
    start("undisturbed").communicate()
    rng = random.Random(5)
    for _ in range(5):
        process = start("killed")
        time.sleep(rng.uniform(0.3, 1.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    output, errors = start("killed").communicate()
    assert " 0 damaged, 0 failed" in output, errors
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")


def test_two_runs_at_once_make_the_same_store(videos, tmp_path, start):
    start("alone").communicate()
    together = [start("shared"), start("shared")]
    assert [process.communicate()[1] for process in together] == ["", ""]
    assert [process.returncode for process in together] == [0, 0]
    assert digests(tmp_path / "shared") == digests(tmp_path / "alone")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("how", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
@pytest.mark.parametrize("whole_group", [True, False])
def test_interrupted_run_leaves_no_process(videos, tmp_path, start, how, exit_code, whole_group):
    (tmp_path / "slow.py").write_text(SLOW_METHOD)
    (tmp_path / "started").mkdir()
    process = start("store", "--method", "slow:make")
    while len(list((tmp_path / "started").iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    (os.killpg if whole_group else os.kill)(process.pid, how)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == exit_code
    assert "Traceback" not in errors
    end = time.monotonic() + 10
    while processes_of(process.pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert processes_of(process.pid) == []
    assert not list((tmp_path / "store").rglob("*.json*")), "no video is to blame"


def test_one_broken_and_one_deadly_video_cost_only_themselves(videos, make_video, tmp_path, start):
    (tmp_path / "slow.py").write_text(SLOW_METHOD)
    (videos / "class0" / "broken.avi").write_text("no video")
    make_video(videos / "class0" / "deadly.avi", frames=3, size=(64, 64))
    process = start("store", "--method", "slow:crash")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert output.splitlines() == [
        "14 videos: 12 done now, 0 already done, 0 damaged, 2 failed; store store",
        "failed    class0/broken: not readable as a video: damaged, without a video stream, "
        "or unknown",
        "crashed   class0/deadly: signal 9 (SIGKILL)",
    ]
    again = start("store", "--method", "slow:crash")
    output, _ = again.communicate()
    assert again.returncode == 1
    assert "0 done now, 12 already done, 0 damaged, 2 failed" in output
    assert "--retry-failed" in output
    lines = (tmp_path / "store" / "manifest.jsonl").read_text().splitlines()
    statuses = {(line := json.loads(text))["name"]: line["status"] for text in lines}
    assert len(statuses) == 14
    assert statuses["class0/deadly"] == "crashed"


def test_video_that_takes_too_long_costs_only_itself(make_video, tmp_path, start):
    (tmp_path / "slow.py").write_text(SLOW_METHOD)
    (tmp_path / "started").mkdir()
    make_video(tmp_path / "videos" / "long.avi", size=(48, 64))
    make_video(tmp_path / "videos" / "short.avi", size=(16, 16))
    output, _ = start("store", "--method", "slow:make", "--timeout", "4").communicate()
    assert output.splitlines() == [
        "2 videos: 1 done now, 0 already done, 0 damaged, 1 failed; store store",
        "timeout   long: after 4 s",
    ]


def invoke(*arguments: object):
    return CliRunner().invoke(cli, ["extract-flow", *map(str, arguments)])


def test_json(make_video, tmp_path):
    make_video(tmp_path / "videos" / "v.avi", frames=3)
    (tmp_path / "videos" / "bad.avi").touch()
    (tmp_path / "videos" / "notes.txt").touch()
    store = tmp_path / "store"
    result = invoke("--videos", tmp_path / "videos", "--store", store, "--json", "--bound", 8)
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "videos": 2,
        "done_now": 1,
        "already_done": 0,
        "damaged": 0,
        "failed": 1,
        "store": str(store),
        "problems": [{"name": "bad", "status": "failed", "reason": "the file is empty (0 bytes)"}],
        "skipped": {},
        "ignored_files": 1,
    }
    assert scan_store(store)["v"]["quantiser"]["bound"] == 8


def test_what_is_left_out_is_said(make_video, tmp_path):
    make_video(tmp_path / "videos" / "v.avi", frames=2)
    (tmp_path / "videos" / "notes.txt").touch()
    (tmp_path / "videos" / "gone.avi").symlink_to("nowhere")
    result = invoke("--videos", tmp_path / "videos", "--store", tmp_path / "store")
    assert result.exit_code == 0
    assert "1 files that are no videos are ignored: notes.txt" in result.stderr
    assert "skipped   gone.avi: a link to nothing" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--videos", "nowhere"], "no such folder of videos"),
        (["--videos", "."], "no video below this folder"),
        (["--method", "tvl"], "not one of dis, farneback"),
        (["--method-option", "preset=slow"], "allowed: ultrafast, fast, medium"),
        (["--method-option", "preset"], "is not key=value"),
        (["--bound", "0"], "bound"),
        (["--jobs", "0"], "jobs"),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = invoke("--videos", ".", "--store", "store", *options)
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("levels=5", ("levels", 5)),
        ("poly_sigma=1.5", ("poly_sigma", 1.5)),
        ("fast=true", ("fast", True)),
        ("preset=ultrafast", ("preset", "ultrafast")),
        ("formula=a=b", ("formula", "a=b")),
    ],
)
def test_method_options_have_types(text, expected):
    assert read_option(text) == expected


def test_help_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from twostream.cli import cli\n"
        "cli(['extract-flow', '--help'], standalone_mode=False)\n"
        "heavy = {'cv2', 'numpy', 'torch', 'safetensors', 'multiprocessing'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
