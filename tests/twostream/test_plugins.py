from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from twostream.errors import InputError
from twostream.plugins import PlugIn, load

ENTRIES = {"mean": min, "max": max}


def test_load_by_name_and_by_module() -> None:
    assert load("max", ENTRIES) is max
    assert load("math:sqrt", ENTRIES)(9) == 3


def test_load_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_plug_in_for_a_test.py").write_text("def double(x): return 2 * x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    assert load("my_plug_in_for_a_test:double", ENTRIES)(4) == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("median", "'median' is not one of mean, max, nor module:function"),
        ("no_such_module:f", "cannot load 'no_such_module:f': No module named"),
        ("math:no_such", "cannot load 'math:no_such': .*no attribute"),
        (":f", "cannot load ':f'"),
    ],
)
def test_what_cannot_be_loaded(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(name, ENTRIES)


@click.command()
@click.option("--strategy", type=PlugIn(ENTRIES))
def command(strategy: str) -> None:
    """Stand-in."""
    click.echo(strategy)


def test_on_the_command_line() -> None:
    runner = CliRunner()
    assert runner.invoke(command, ["--strategy", "a.b:c"]).output == "a.b:c\n"
    wrong = runner.invoke(command, ["--strategy", "median"])
    assert wrong.exit_code == 2
    assert "'median' is not one of mean, max, nor module:function" in wrong.output
    assert "[mean|max|module:function]" in runner.invoke(command, ["--help"]).output
