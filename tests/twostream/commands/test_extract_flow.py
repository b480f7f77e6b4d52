"""The command as a user runs it: in a process of its own, interrupted in every way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from flow_extract.store.reader import scan_store
from flow_extract.video.decode import read_frames
from twostream.cli import cli
from twostream.commands.extract_flow import with_device
from twostream_base.files import sha256_file
from twostream_base.plugins import TrustedName

from ...faults.forks import Forks

ROOT = Path(__file__).parents[3]
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


@pytest.fixture(scope="module")
def undisturbed(make_video, tmp_path_factory):
    """A folder with twelve videos, and with the store of a run that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for n in range(12):
        make_video(folder / "videos" / f"class{n % 3}" / f"v{n}.avi", frames=8 + n, seed=n)
    done = invoke("--videos", folder / "videos", "--store", folder / "store")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def videos(undisturbed, tmp_path):
    """A copy, at the same times of change."""
    return shutil.copytree(undisturbed / "videos", tmp_path / "videos")


@pytest.fixture
def start(tmp_path):
    """Start `twostream extract-flow` on `videos` in a session of its own."""
    forks = Forks("extraction")

    def run(store, *options):
        command = ["extract-flow", "--jobs", "2", "--videos", "videos", "--store", str(store)]
        return forks.start([*command, *options], cwd=tmp_path)

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
    """First by the interpreter, as users start it."""
    command = [sys.executable, "-m", "twostream", "extract-flow", "--jobs", "2"]
    command += ["--videos", "videos", "--store", "store"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)  # fmt: skip
    assert done.stdout == (
        "12 videos: 12 done now, 0 already done, 0 damaged, 0 failed; store store\n"
    ), done.stderr
    before = digests(tmp_path / "store")
    assert len(before) == 13
    second, _ = start("store").communicate()
    assert second == "12 videos: 0 done now, 12 already done, 0 damaged, 0 failed; store store\n"
    assert digests(tmp_path / "store") == before


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
    _, errors = process.communicate(timeout=300)
    assert process.returncode == exit_code
    assert "Traceback" not in errors
    assert exit_code == -9 or "re-run the same command" in errors
    end = time.monotonic() + 60
    while processes_of(process.pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert processes_of(process.pid) == []
    assert not list((tmp_path / "store").rglob("*.json*")), "no video is to blame"
    locks = list((tmp_path / "store").rglob("*.lock"))
    assert len(locks) == (2 if exit_code == -9 else 0)


def test_one_broken_and_one_deadly_video_cost_only_themselves(videos, make_video, tmp_path, start):
    (tmp_path / "slow.py").write_text(SLOW_METHOD)
    (videos / "class0" / "broken.avi").write_text("no video")
    make_video(videos / "class0" / "deadly.avi", frames=3, size=(64, 64))
    process = start("store", "--method", "slow:crash")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert output.splitlines() == [
        "14 videos: 12 done now, 0 already done, 0 damaged, 2 failed; store store",
        "failed    class0/broken: not readable as a video: damaged at its beginning, "
        "or of an unknown format",
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


def test_crashed_video_is_tried_again_by_the_next_run(videos, make_video, tmp_path, start):
    (tmp_path / "slow.py").write_text(SLOW_METHOD)
    make_video(videos / "deadly.avi", frames=3, size=(64, 64))
    output, _ = start("store", "--method", "slow:crash").communicate()
    assert "crashed   deadly" in output
    method = SLOW_METHOD.replace("os.kill(os.getpid(), 9)", "pass")
    (tmp_path / "slow.py").write_text(method)
    output, _ = start("store", "--method", "slow:crash").communicate()
    assert output.startswith("13 videos: 1 done now, 12 already done, 0 damaged, 0 failed")


def invoke(*arguments: object):
    return CliRunner().invoke(cli, ["extract-flow", *map(str, arguments)])


def test_video_that_takes_too_long_costs_only_itself(make_video, tmp_path, monkeypatch):
    """No time passes until the other one is done, then a lot does."""
    (tmp_path / "slow.py").write_text(SLOW_METHOD)
    (tmp_path / "started").mkdir()
    make_video(tmp_path / "videos" / "long.avi", size=(48, 64))
    make_video(tmp_path / "videos" / "short.avi", size=(16, 16))
    short = tmp_path / "store" / "short.safetensors"
    clock = SimpleNamespace(
        monotonic=lambda: 1e9 + time.monotonic() if short.exists() else 0.0, sleep=time.sleep
    )
    monkeypatch.setattr("flow_extract.extraction.executor.time", clock)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    options = ["--method", "slow:make", "--timeout", "4", "--jobs", "2"]
    assert invoke("--videos", "videos", "--store", "store", *options).stdout.splitlines() == [
        "2 videos: 1 done now, 0 already done, 0 damaged, 1 failed; store store",
        "timeout   long: no progress for 4 s",
    ]


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
        "frames": 3,
        "repeated": 0,
        "store": str(store),
        "problems": [{"name": "bad", "status": "failed", "reason": "the file is empty (0 bytes)"}],
        "skipped": {},
        "ignored": {"notes.txt": "a .txt file"},
        "moved": {},
    }
    assert scan_store(store)["v"]["quantiser"]["bound"] == 8


def test_what_is_left_out_is_said(make_video, tmp_path):
    make_video(tmp_path / "videos" / "v.avi", frames=2)
    (tmp_path / "videos" / "notes.txt").touch()
    (tmp_path / "videos" / "gone.avi").symlink_to("nowhere")
    result = invoke("--videos", tmp_path / "videos", "--store", tmp_path / "store")
    assert result.exit_code == 0
    assert "1 files are not videos and were ignored: notes.txt (a .txt file)" in result.stderr
    assert "skipped   gone.avi: a broken link" in result.stderr


def test_repeated_frames_are_told_and_dropped(write_mjpg, tmp_path):
    texture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    clip = np.stack([np.roll(texture, shift, 1) for shift in (0, 0, 3, 6, 6, 6)])
    write_mjpg(tmp_path / "videos" / "v.avi", clip)
    folders = ["--videos", tmp_path / "videos", "--store", tmp_path / "store"]
    for _ in range(2):
        lines = invoke(*folders).stdout.splitlines()
        assert len(lines) == 2
        assert lines[1].startswith("repeated  3 of 6 frames repeat the one before them")
        assert "--drop-repeated" in lines[1]
    dropped = invoke(*folders, "--drop-repeated")
    assert "1 done now" in dropped.stdout
    assert "repeated  3 frames were left out, 3 are stored" in dropped.stdout
    again = json.loads(invoke(*folders, "--drop-repeated", "--json").stdout)
    assert [again[key] for key in ("already_done", "frames", "repeated")] == [1, 3, 3]


def test_plan_writes_nothing(make_video, tmp_path):
    for n in range(3):
        make_video(tmp_path / "videos" / f"v{n}.avi", frames=4, seed=n)
    common = ["--videos", tmp_path / "videos", "--store", tmp_path / "store", "--plan"]
    one = json.loads(invoke(*common, "--json", "--method", "dis", "--jobs", 1).stdout)
    assert (one["videos"], one["frames"], one["jobs"], one["unavailable"]) == (3, 12, 1, {})
    assert [row["method"] for row in one["methods"]] == ["dis"]
    assert one["methods"][0]["files"] == 4
    text = invoke(*common, "--method", "farneback").stdout.splitlines()
    assert text[0].startswith("3 videos, about 12 frames; --jobs ")
    assert text[1].split() == ["method", "ms/frame", "hours", "gigabytes", "files"]
    assert [line.split()[0] for line in text[2:]] == ["farneback"]
    assert not (tmp_path / "store").exists()


def test_plan_names_a_method_that_does_not_work_here(make_video, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "twostream.commands.extract_flow.FLOW_METHODS", {"dis": None, "nowhere:flow": None}
    )
    make_video(tmp_path / "videos" / "v.avi", frames=4)
    result = invoke("--videos", tmp_path / "videos", "--store", tmp_path / "store", "--plan")
    assert result.exit_code == 0
    assert "nowhere:flow cannot be used here" in result.stdout


def test_bound_auto_says_what_it_measured_and_keeps_to_it(make_video, tmp_path):
    make_video(tmp_path / "videos" / "v.avi", frames=4)
    common = ["--videos", tmp_path / "videos", "--store", tmp_path / "store"]
    first = invoke(*common, "--bound", "auto")
    assert "clipped at 10 px 0.000%" in first.stderr
    assert "(3 frame pairs): --bound 10" in first.stderr
    assert scan_store(tmp_path / "store")["v"]["quantiser"]["bound"] == 10
    again = invoke(*common, "--bound", "auto")
    assert "the store was started with --bound 10" in again.stderr
    assert "0 done now, 1 already done" in again.stdout


def test_frames_alone_and_flow_later(make_video, tmp_path):
    """Frames of a store with flow are enough where frames are asked for; flow is never removed."""
    make_video(tmp_path / "videos" / "a.avi", frames=5)
    make_video(tmp_path / "videos" / "b.avi", frames=4, seed=1)
    folders = ["--videos", tmp_path / "videos", "--store", tmp_path / "store"]
    counts = "2 videos: {} done now, {} already done, 0 damaged, 0 failed; store "
    alone = invoke(*folders, "--method", "none")
    assert alone.stdout == f"{counts.format(2, 0)}{tmp_path / 'store'}\n"
    headers = scan_store(tmp_path / "store")
    assert [h["method"] for h in headers.values()] == [None, None]
    assert [h["counts"]["frames"] for h in headers.values()] == [5, 4]
    assert [h["counts"]["flows"] for h in headers.values()] == [0, 0]
    rgb = [h["sha256"]["rgb"] for h in headers.values()]
    assert counts.format(0, 2) in invoke(*folders, "--method", "none").stdout

    check = ["check-flow", "--store", str(tmp_path / "store"), "--deep"]
    result = CliRunner().invoke(cli, check)
    assert result.stdout.startswith("2 store files, 9 frames, 0 flow pairs; 0 things wrong")
    result = CliRunner().invoke(cli, ["show-flow", "a", "--store", str(tmp_path / "store")])
    assert result.exit_code == 2
    assert "a.safetensors: it has frames alone, no flow; `twostream extract-flow" in result.output

    assert counts.format(2, 0) in invoke(*folders).stdout
    headers = scan_store(tmp_path / "store")
    assert [h["counts"]["flows"] for h in headers.values()] == [4, 3]
    assert [h["sha256"]["rgb"] for h in headers.values()] == rgb
    assert counts.format(0, 2) in invoke(*folders, "--method", "none").stdout
    assert scan_store(tmp_path / "store") == headers
    assert counts.format(2, 0) in invoke(*folders, "--method", "none", "--short-side", 24).stdout


def test_frames_alone_have_no_options_of_flow(make_video, tmp_path, monkeypatch):
    """Typed ones are refused; those of a project file are of the other runs."""
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "videos" / "a.avi", frames=3)
    folders = ["--videos", "videos", "--store", "store", "--method", "none"]
    for option in (["--bound", "10"], ["--device", "cuda"], ["--method-option", "preset=fast"]):
        result = invoke(*folders, *option)
        assert result.exit_code == 2
        assert f"{option[0]} has no effect with --method none" in result.output
    plan = json.loads(invoke(*folders, "--plan", "--json").stdout)
    assert [row["method"] for row in plan["methods"]] == ["none"]
    Path("twostream.toml").write_text('[extract-flow]\nbound = 10.0\ndevice = "cuda"\n')
    assert "1 done now" in invoke(*folders).stdout
    assert scan_store("store")["a"]["quantiser"]["bound"] == 20


def test_data_sets_that_come_as_pictures(shared_data, tmp_path, monkeypatch):
    """Jester and Something-Something V1 as they are shipped: `1/00001.jpg`, without flow."""
    monkeypatch.chdir(tmp_path)
    case = shared_data / "reported-cases" / "pictures-without-flow"
    subprocess.run([sys.executable, case / "make.py"], cwd=tmp_path, check=True)
    folders = ["--videos", "frames", "--store", "store"]
    result = invoke(*folders)
    assert result.stdout.startswith("5 videos: 5 done now, 0 already done, 0 damaged, 0 failed;")
    headers = scan_store("store")
    assert list(headers) == ["1", "2", "3", "4", "5"]
    counts = [(h["counts"]["frames"], h["counts"]["flows"]) for h in headers.values()]
    assert counts == [(12, 11)] * 5
    assert "0 done now, 5 already done" in invoke(*folders).stdout

    convert = ["convert-flow", "img", "store2", "--from", "xy", "--to", "store"]
    result = CliRunner().invoke(cli, convert)
    assert (result.exit_code, result.output) == (
        0, "5 videos: 5 done now, 0 already done, 0 damaged, 0 failed; in store2\n",
    )  # fmt: skip
    result = CliRunner().invoke(cli, ["check-flow", "--store", "store2"])
    assert result.stdout.startswith("5 store files, 60 frames, 0 flow pairs; 0 things wrong;")

    lists = ["--dataset", "jester", "--annotations", "lists"]
    result = CliRunner().invoke(cli, ["init", *lists, "--videos", "frames"])
    assert result.exit_code == 0, result.output
    assert "5 videos found" in result.output
    assert "0 of them missing" in result.output


@pytest.mark.parametrize(
    ("damage", "status", "reason"),
    [
        ("gap", "damaged", "1 of 12 pictures are missing, number 7"),
        ("unreadable", "damaged", "1 of 12 pictures cannot be read: 00007.jpg"),
        ("size", "failed", "00007.jpg has 40 x 30 pixels, those before it 64 x 48"),
        ("twice", "refused", "00007.jpg and 7.png have the same number; remove one"),
        ("kinds", "refused", "pictures of 2 kinds, * (12), img_* (1); a folder of pictures is"),
    ],
)
def test_folders_of_pictures_that_are_not_whole(make_video, tmp_path, damage, status, reason):
    folder = tmp_path / "videos" / "a"
    folder.mkdir(parents=True)
    for number, frame in enumerate(read_frames(make_video(tmp_path / "v.avi")), 1):
        cv2.imwrite(str(folder / f"{number:05}.jpg"), frame)
    other = np.zeros((30, 40, 3), np.uint8)
    if damage == "gap":
        (folder / "00007.jpg").unlink()
    elif damage == "unreadable":
        (folder / "00007.jpg").write_bytes((folder / "00007.jpg").read_bytes()[:200])
    elif damage == "size":
        cv2.imwrite(str(folder / "00007.jpg"), other)
    elif damage == "twice":
        cv2.imwrite(str(folder / "7.png"), other)
    else:
        cv2.imwrite(str(folder / "img_00013.jpg"), other)
    (folder / "notes.txt").touch()
    folders = ["--videos", tmp_path / "videos", "--store", tmp_path / "store"]
    result = invoke(*folders, "--method", "none")
    lines = [line for line in result.stdout.splitlines() if line.startswith(status)]
    assert len(lines) == 1
    assert lines[0].startswith(f"{status:<9} a: ")
    assert reason in lines[0]
    assert "ignored: a/notes.txt (a .txt file)" in result.stderr
    assert result.exit_code == (status != "damaged")


def test_codec(make_video, tmp_path):
    make_video(tmp_path / "videos" / "v.avi", frames=2)
    common = ["--videos", tmp_path / "videos", "--store", tmp_path / "store"]
    assert "1 done now" in invoke(*common).stdout
    assert "1 done now" in invoke(*common, "--codec", "raw").stdout
    assert scan_store(tmp_path / "store")["v"]["codec"] == "raw"


def test_more_jobs_than_cores(make_video, tmp_path):
    make_video(tmp_path / "videos" / "v.avi", frames=2)
    result = invoke("--videos", tmp_path / "videos", "--store", tmp_path / "store", "--jobs", 9999)
    assert result.exit_code == 0
    assert "--jobs 9999 is more than the cores" in result.stderr


def test_device_goes_to_a_method_that_has_one():
    raft = TrustedName("flow_extract.methods.raft:make_raft")
    options = {"batch": 2, "device": "cuda:1"}
    assert with_device(raft, options, None) == "cuda:1"
    assert options == {"batch": 2}
    assert with_device(raft, options, "cuda") == "cuda"
    assert with_device("dis", {}, None) is None


def test_engines_take_over_from_each_other(videos, undisturbed, tmp_path, start):
    pytest.importorskip("distributed", reason="needs dask[distributed]")
    for engine, done in (("local", 2), ("dask", 4)):
        process = start("store", "--engine", engine)
        while len(list((tmp_path / "store").rglob("*.safetensors"))) < done:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
        assert "Traceback" not in errors
    output, errors = start("store").communicate()
    assert "0 damaged, 0 failed" in output
    assert len(errors.splitlines()) == 1
    assert errors.startswith("next: ")
    assert digests(tmp_path / "store") == digests(undisturbed / "store")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--videos", "nowhere"], "no such folder of videos"),
        (["--videos", "."], "no video below this folder"),
        (["--method", "tvl"], "not one of dis, farneback"),
        (["--method-option", "preset=slow"], "allowed: ultrafast, fast, medium"),
        (["--method-option", "preset"], "expected key=value"),
        (["--bound", "0"], "bound"),
        (["--jobs", "0"], "jobs"),
        (["--bound", "wide"], "'wide' is not a valid float"),
        (["--device", "cuda"], "method 'dis' has no --device; these have:"),
        (["--scheduler", "tcp://a:1"], "--scheduler needs --engine dask"),
        (["--scheduler", "tcp://a:1", "--engine", "dask", "--jobs", "1"], "--jobs"),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = invoke("--videos", ".", "--store", "store", *options)
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")
    assert not (tmp_path / "store").exists()


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
