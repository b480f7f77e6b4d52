"""What all commands share on the screen: help, progress, results for programs, project options."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from twostream.commands.option_types import OPTION_FILES, PROJECT, RUN_CONFIG, TRUSTS_PLUGINS
from twostream_base.errors import InputError, printable

Item = TypeVar("Item")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose help shows common options first, the others under titles, then an example.

    Defaults are shown, but for an empty text, which stands for an option that was not given.

    Args:
        example: command lines, shown as they are.
        common: the options that come first, such as "--model"; those of no `section` join them.
            Without any, all options stand in one list.
    """

    def __init__(self, *args: Any, example: str, common: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings["show_default"] = True
        self.example, self.common = example, common
        for param in self.params:
            if isinstance(param, click.Option) and not param.is_flag:
                param.metavar = param.metavar or METAVARS.get(type(param.type))
                if param.default == "" and param.show_default is None:
                    param.show_default = False

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; say before which file, of project or RUN, gives which of its options."""
        project, files = ctx.meta.get(PROJECT), ctx.meta.get(OPTION_FILES, {})
        taken: dict[Any, list[str]] = {}
        for param in self.get_params(ctx):
            name = param.name or ""
            if ctx.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP:
                taken.setdefault(files.get(name, project), []).append(param.opts[0].lstrip("-"))
        if not _is_silent(ctx):
            for path in filter(None, (project, ctx.meta.get(RUN_CONFIG))):
                if path in taken:
                    tell(f"options from {path}: {', '.join(taken[path])}")
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        by_name = {name: option for option in options for name in option.opts}
        common = [by_name[name] for name in self.common]
        first = "Common options" if common else "Options"
        rows: dict[str, list[tuple[str, str]]] = {first: []}
        for option in [*common, *(option for option in options if option not in common)]:
            listed_first = not common or option in common
            title = first if listed_first else vars(option).get("section", first)
            if record := option.get_help_record(ctx):
                rows.setdefault(title, []).append(record)
        for title, records in rows.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example below the options, where a long help ends on the screen."""
        _write_example(formatter, self.example)


def _is_silent(ctx: click.Context) -> bool:
    """Whether notes about options would disturb: --quiet, --json, or another process says them."""
    quiet = ctx.params.get("quiet") or ctx.params.get("as_json")
    return bool(quiet) or os.environ.get("RANK", "0") != "0"


class Group(click.Group):
    """A group whose help lists the commands in their own order, and ends with an example."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order in which the commands were added, not the alphabet's."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command, or say which is spelt like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            if similar := get_close_matches(args[0], self.list_commands(ctx), cutoff=0.7):
                hint = f"{error.message} Did you mean {' or '.join(similar)}?"
                raise click.UsageError(hint, ctx) from None
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        _write_example(formatter, self.example)


METAVARS: dict[type, str] = {
    click.IntRange: "N",
    type(click.INT): "N",
    click.FloatRange: "X",
    type(click.FLOAT): "X",
}


def _write_example(formatter: click.HelpFormatter, example: str) -> None:
    with formatter.section("Example"):
        for line in example.splitlines():
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def section(title: str, *options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """One decorator that adds several options, shown by `--help` under a title, in their order."""

    def add(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
            vars(command)["__click_params__"][-1].section = title  # where click collects them
        return command

    return add


def progress(
    items: Iterable[Item], *, total: int, label: str, unit: str, quiet: bool = False
) -> Iterator[Item]:
    """Pass `items` through a bar with rate and time left, on a terminal and unless `quiet`.

    Into a pipe or a log file nothing is drawn: the commands print plain lines of their own.
    """
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    yield from tqdm(
        items, total=total, desc=printable(label), unit=f" {unit}", disable=hidden, leave=False
    )


class LateProgress:
    """How far a work has come, shown on standard error once it has taken two seconds.

        with LateProgress() as progress:
            progress("calibration", 0.25)

    On a terminal it is a bar, which is gone at the end; elsewhere a plain line now and then.
    """

    AFTER, EVERY = 2.0, 15.0  # seconds; between two lines

    def __init__(self) -> None:
        self.start = self.next_line = time.monotonic()
        self.bar: Any = None

    def __call__(self, what: str, share: float) -> None:
        """Show it if it is time: what is being done, and which share of all, 0..1, is done."""
        now = time.monotonic()
        if now - self.start < self.AFTER:
            return
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = self.bar or tqdm(
                total=100,
                leave=False,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
            )
            self.bar.start_t = time.time() - (now - self.start)
            self.bar.n = 100 * share
            self.bar.set_description_str(what)
        elif now >= self.next_line:
            self.next_line = now + self.EVERY
            tell(f"{what}: {share:.0%} done after {now - self.start:.0f} s")

    def __enter__(self) -> LateProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()


def print_json(result: dict[str, Any]) -> None:
    """Print a result for a program: one JSON object on standard output."""
    text = json.dumps(result, indent=2, ensure_ascii=False)
    shown = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    click.echo(shown)


def print_line(result: dict[str, Any]) -> None:
    """Print one of many results for a program: a JSON object in a line, at once."""
    click.echo(json.dumps(result))
    sys.stdout.flush()


def show(*lines: str) -> None:
    """Print lines of a result; what files and names bring into them cannot act on the terminal."""
    click.echo("\n".join(map(printable, lines)))


def tell(text: str) -> None:
    """Tell the user something that is not the result: on standard error, so pipes stay clean."""
    click.echo(printable(text), err=True)


def tell_next(*words: object) -> None:
    """Name the command that usually follows the one that has just ended."""
    import shlex

    tell(f"next: {shlex.join(['twostream', *map(str, words)])}")


def run_command(
    folder: Path, *words: str, capture: bool = False, accepts: Sequence[int] = (0,)
) -> str:
    """Print a command as the user would type it, and run it in a folder.

    Returns:
        What it printed, with `capture`; else nothing, as it went to the screen.

    Raises:
        InputError: it ended with another exit code than those it `accepts`.
    """
    import shlex
    import subprocess

    click.secho(f"\n$ {shlex.join(['twostream', *words])}", bold=True)
    # The folder that we were imported from comes first: it may be a clone that is not installed.
    home = str(Path(__file__).parents[2])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths}
    if capture:
        environment["PYTHONIOENCODING"] = "utf-8"
    process = subprocess.run(
        [sys.executable, "-m", "twostream", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE if capture else None,
        encoding="utf-8",
        check=False,
    )
    if process.returncode not in accepts:
        raise InputError(f"that command ended with exit code {process.returncode}, in {folder}")
    return process.stdout or ""


json_option = section(
    "Output",
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
)
quiet_option = section("Output", click.option("--quiet", is_flag=True, help="No progress bars."))


def _note_trust(ctx: click.Context, param: click.Parameter, trusts: bool) -> None:
    ctx.meta[TRUSTS_PLUGINS] = trusts


trust_option = section(
    "Plug-ins",
    click.option(
        "--trust-plugins",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_note_trust,
        help="Import the module:function that a file names (a run, a project file), which runs "
        "code: for files whose author you trust.",
    ),
)


def trusts_plugins() -> bool:
    """Whether the command that runs was given --trust-plugins."""
    return bool(click.get_current_context().meta.get(TRUSTS_PLUGINS))


def typed_options() -> set[str]:
    """Names of the parameters that stand on the command line of the command that runs."""
    ctx = click.get_current_context()
    typed = click.core.ParameterSource.COMMANDLINE
    return {name for name in ctx.params if ctx.get_parameter_source(name) is typed}


def tell_unused(names: Iterable[str], options: Mapping[str, Any], *, needed: str) -> None:
    """Tell which of these options a file sets that have no effect, as `needed` is not given."""
    ctx = click.get_current_context()
    if _is_silent(ctx):
        return
    files, options_of = ctx.meta.get(OPTION_FILES, {}), dict[Any, list[str]]()
    for param in ctx.command.params:
        name = param.name or ""
        is_from_file = ctx.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP
        if name in names and is_from_file and options[name]:
            option = param.opts[0].lstrip("-")
            options_of.setdefault(files.get(name, ctx.meta.get(PROJECT)), []).append(option)
    for path, unused in options_of.items():
        have = "has" if len(unused) == 1 else "have"
        tell(f"{path}: {', '.join(unused)} {have} no effect without {needed}")


class ProjectOption(click.Option):
    """An option that the project file usually fills in; its absence is explained as such."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Say that `twostream init` would have provided the missing value."""
        try:
            return super().process_value(ctx, value)
        except click.MissingParameter:
            raise click.UsageError(
                f"{self.opts[0]} is missing, and no twostream.toml in this folder or above it sets "
                f"it. Give {self.opts[0]}, or write the project file with `twostream init`."
            ) from None
