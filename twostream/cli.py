"""The `twostream` command: finds a command by its name and turns errors into one line."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from twostream.commands import console
from twostream.commands.option_types import FILE, PROJECT
from twostream_base.errors import InputError, disk_error, printable

# The commands in the order of use, and what `twostream --help` says of each without importing it.
COMMANDS = {
    "run": "Do all of it: from a folder of videos to the report.",
    "init": "Check a data set's lists, write twostream.toml.",
    "extract-flow": "Decode videos into frames and optical flow.",
    "check-flow": "Check the files of extracted flow.",
    "show-flow": "Draw optical flow as colours.",
    "convert-flow": "Read and write the image folders of other tools.",
    "models": "List the networks and their sizes.",
    "train": "Train one stream and write its scores.",
    "score": "Score videos with a trained network.",
    "predict": "Recognise the actions in new videos.",
    "features": "Write features of videos for other tools.",
    "export": "Export a network to ONNX or torch.export.",
    "weights": "List published checkpoints, and fetch them.",
    "import-weights": "Import a checkpoint of another tool.",
    "fuse": "Fuse the scores of the streams, show the accuracy.",
    "tune": "Find the best weights of the streams.",
    "compare": "Test differences between streams and fusions.",
    "events": "Find the events in long videos, and judge them.",
    "table": "Make the table of a paper over splits and seeds.",
    "report": "Write one HTML page about the results.",
    "scores": "Show, check, import and export score files.",
    "train-sequence": "Train a network for sequences of glosses.",
    "recognize": "Recognise sequences of glosses.",
    "wer": "Compute the word error rate of sentences.",
    "demo": "Run the whole job on generated videos.",
    "doctor": "Check what works on this machine.",
}
SECONDS_OF_FIRST_PROCESS = 5.0
WITHOUT_PROJECT = ("run", "init", "models", "weights", "wer", "demo")


class Stop(click.ClickException):
    """The end of a command: a line for the user, and the exit code."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(printable(message))
        self.exit_code = exit_code  # type: ignore[misc]  # a class variable in click, read by instance


class LazyGroup(console.Group):
    """The group of COMMANDS; `a-name` is the function `a_name` of `twostream.commands.a_name`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order of a day's work, not the alphabet's."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"twostream.commands.{name}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above: their modules stay unread."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Turn the user's mistakes, full disks and interrupts into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            _leave_to_first_process()
            raise Stop(str(error), exit_code=2) from error
        except click.ClickException as error:
            _leave_to_first_process()
            vars(error)["message"] = printable(error.message)  # final for readers, not for us
            raise
        except BrokenPipeError:  # `... | head` has seen enough; click ends quietly
            raise
        except OSError as error:
            raise Stop(disk_error(error), exit_code=1) from error
        except EOFError as error:  # of the server that starts processes; click would say "Aborted!"
            raise Stop(
                "a process that starts the others has ended, killed perhaps for want of memory; "
                "re-run the same command to resume",
                exit_code=1,
            ) from error
        except KeyboardInterrupt as error:
            raise Stop("interrupted; re-run the same command to resume", exit_code=130) from error


def _leave_to_first_process() -> None:
    """Wait for the end, where torchrun started us beside a process that makes the same mistake.

    That one says it, torchrun ends all others, and it stands there once. A mistake of this process
    alone is said after the wait.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0":
        time.sleep(SECONDS_OF_FIRST_PROCESS)


def _show_version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    """Print the version; a callback of our own, because reading it costs more than all of click."""
    if asked:
        from twostream_base.versions import tool_version

        click.echo(f"twostream, version {tool_version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    example="twostream demo\n"
    "twostream init --dataset ucf101 --videos UCF-101 --annotations ucfTrainTestlist",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--project", type=FILE, help="Project file.  [default: the nearest twostream.toml]")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context, project: Path | None) -> None:
    """Two-stream action recognition: from a folder of videos to a fused result.

    Commands are listed in the order of use. Each takes its defaults from the project file that
    `twostream init` writes, and works without one from its options.
    """
    name = ctx.invoked_subcommand
    if name is None or name in WITHOUT_PROJECT:
        return
    from twostream.commands.option_files import find_project, option_defaults, read_project

    path = project or find_project(Path.cwd(), tell=console.tell)
    if path is None:
        return
    command = cli.get_command(ctx, name)
    assert command is not None  # click has resolved it before it calls us
    ctx.default_map = {name: option_defaults(command, name, read_project(path), path=path)}
    ctx.meta[PROJECT] = path


def main() -> None:
    """Entry point of the console script and of `python -m twostream`."""
    # Processes that libraries start import nothing from the current folder either.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    signal.signal(signal.SIGTERM, _terminated)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A pipe of Windows, or an old locale, lacks the letters of other scripts. They are escaped.
        sys.stdout.reconfigure(errors="backslashreplace")
    cli(prog_name="twostream")


def _terminated(signal_number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + signal_number)
