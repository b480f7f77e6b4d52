"""The `twostream` command: a name leads to a function, imported when it is asked for."""

from __future__ import annotations

import importlib
import signal
from pathlib import Path
from typing import Any, NoReturn

import click

from twostream.errors import InputError
from twostream.project import find_project, option_defaults, read_project
from twostream.versions import tool_version

COMMANDS = {
    "init": "twostream.commands.init:init",
    "extract-flow": "flow_extract.cli:extract_flow",
    "check-flow": "flow_extract.store_cli:check_flow",
    "show-flow": "flow_extract.store_cli:show_flow",
    "convert-flow": "flow_extract.store_cli:convert_flow",
    "models": "twostream.commands.models:models",
    "train": "twostream.commands.train:train",
    "score": "twostream.commands.score:score",
    "predict": "twostream.commands.predict:predict",
    "export": "twostream.commands.export:export",
    "import-weights": "twostream.commands.import_weights:import_weights",
    "fuse": "fusion.cli:fuse",
    "tune": "fusion.tune_cli:tune",
    "compare": "fusion.compare_cli:compare",
    "report": "fusion.report_cli:report",
    "scores": {
        "show": "fusion.cli:show",
        "check": "fusion.exchange_cli:check",
        "import": "twostream.commands.import_scores:import_scores",
        "export": "fusion.exchange_cli:export",
    },
    "train-sequence": "twostream.commands.train_sequence:train_sequence",
    "recognize": "twostream.commands.recognize:recognize",
    "wer": "twostream.commands.wer:wer",
    "demo": "twostream.commands.demo:demo",
    "doctor": "twostream.commands.doctor:doctor",
}
WITHOUT_PROJECT = ("init", "models", "wer", "demo")
GROUP_HELP = {
    "scores": "Look into score files, check them, and exchange them with other tools.",
}


class Stop(click.ClickException):
    """The end of a command: a line for the user, and the exit code."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # a class variable in click, read by instance


class LazyGroup(click.Group):
    """A group whose commands stand as "package.module:function" until one is needed."""

    def __init__(self, *args: Any, lazy: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order of a day's work, not the alphabet's."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        target = self.lazy.get(cmd_name)
        if isinstance(target, dict):
            return LazyGroup(cmd_name, lazy=target, help=GROUP_HELP[cmd_name])
        if target is None:
            return None
        module, _, function = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Turn the user's mistakes, full disks and interrupts into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise Stop(str(error), exit_code=2) from error
        except BrokenPipeError:  # `... | head` has seen enough; click ends quietly
            raise
        except OSError as error:
            raise Stop(str(error), exit_code=1) from error
        except KeyboardInterrupt as error:
            raise Stop("interrupted; the same command again goes on", exit_code=130) from error


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--project",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Project file.  [default: the nearest twostream.toml]",
)
@click.version_option(tool_version(), prog_name="twostream")
@click.pass_context
def cli(ctx: click.Context, project: Path | None) -> None:
    """Two-stream action recognition: from a folder of videos to a fused result.

    The commands stand in the order in which one uses them. Each takes its defaults from the project
    file that `twostream init` writes, and runs without one from its options.
    """
    name = ctx.invoked_subcommand
    path = project or find_project(Path.cwd())
    if name is None or name in WITHOUT_PROJECT or path is None:
        return
    command = cli.get_command(ctx, name)
    assert command is not None  # click has resolved it before it calls us
    ctx.default_map = {name: option_defaults(command, name, read_project(path))}


def main() -> None:
    """Entry point of the console script and of `python -m twostream`."""
    signal.signal(signal.SIGTERM, _terminated)
    cli(prog_name="twostream")


def _terminated(signal_number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + signal_number)
