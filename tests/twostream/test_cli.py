from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from twostream.cli import COMMANDS, LazyGroup, cli
from twostream_base.errors import InputError

ROOT = Path(__file__).parents[2]
ENDINGS = {
    "wrong": (InputError("a.txt:3: 'x'; expected y"), 2, "Error: a.txt:3: 'x'; expected y\n"),
    "full": (OSError(28, "No space left on device", "/store/a"), 1,
             "Error: /store/a: No space left on device; make room on that disk, then run the same "
             "command again\n"),
    "absent": (FileNotFoundError(2, "No such file or directory", b"/store/a\x1b"), 1,
               "Error: /store/a\\x1b: No such file or directory; mind the path, and whether the "
               "disk is there, then run the same command again\n"),
    "ours": (OSError("v cannot be stored: it is full"), 1,
             "Error: v cannot be stored: it is full\n"),
    "stopped": (KeyboardInterrupt(), 130,
                "Error: interrupted; re-run the same command to resume\n"),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_how_a_command_ends(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, exit_code, message = ENDINGS[ending]

    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: failing)
    result = CliRunner().invoke(cli, ["failing"])
    assert (result.exit_code, result.output) == (exit_code, message)


def test_commands_stand_in_the_order_of_use() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    listed = result.output.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") for line in listed)
    unknown = CliRunner().invoke(cli, ["fues"])
    assert unknown.exit_code == 2
    assert "No such command 'fues'. Did you mean fuse?" in unknown.output


def test_a_broken_project_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twostream.toml").write_text("[fuse]\nstrategie = 'max'\n")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["fuse"])
    assert result.exit_code == 2
    assert (
        "[fuse] has no option 'strategie'; allowed: calibrate, calibration, class-weights"
        in result.output
    )
    assert CliRunner().invoke(cli, ["doctor", "--help"]).exit_code == 0


def run(*arguments: str, **options: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "twostream", *arguments]
    return subprocess.Popen(command, env=environment, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    process = run("train", "--help", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def test_sigterm_ends_a_command_with_143(tmp_path: Path) -> None:
    process = run("init", "--dataset", "toy", cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not list(tmp_path.rglob("*.avi")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 143
    assert not list(tmp_path.rglob(".part-*"))


@pytest.mark.parametrize(
    ("rank", "under_torchrun", "waited"), [("0", True, 0), ("1", True, 1), ("1", False, 0)]
)
@pytest.mark.parametrize("mistake", [["train", "--stream", "none"], ["scores", "check", "none"]])
def test_under_torchrun_the_first_process_says_a_mistake(
    mistake: list[str], rank: str, under_torchrun: bool, waited: int,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """The others wait for torchrun to end them; what nobody else says they say after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", rank)
    if under_torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    waits: list[float] = []
    monkeypatch.setattr("twostream.cli.time.sleep", waits.append)
    result = CliRunner().invoke(cli, mistake)
    assert result.exit_code == 2
    assert len(waits) == waited
    assert "none" in result.stderr
