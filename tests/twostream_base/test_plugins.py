from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from twostream.commands.plugin_type import PlugIn
from twostream_base.errors import InputError
from twostream_base.plugins import load, read_options

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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("1.5", 1.5), (".5", 0.5), ("1e-3", 0.001), ("true", True), ("False", False),
        ("[1, 2]", [1, 2]), ("null", None), ("fast", "fast"), ("a=b", "a=b"), ("", ""),
    ],
)  # fmt: skip
def test_values_have_types(text: str, value: object) -> None:
    options = read_options([f"key = {text}", "other=1"], option="--option")
    assert options == {"key": value, "other": 1}
    assert type(options["key"]) is type(value)


@pytest.mark.parametrize("texts", [["key"], ["=1"], ["key=1", "key=2"]])
def test_texts_that_are_no_options(texts: list[str]) -> None:
    with pytest.raises(InputError, match="--option '.*': expected key=value, each key once"):
        read_options(texts, option="--option")


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


def test_of_many_names_the_near_ones_are_suggested() -> None:
    many = PlugIn({f"resnet{number}": number for number in range(10, 60)}, all_names="`all`")

    @click.command()
    @click.option("--model", type=many)
    def build(model: str) -> None:
        """Stand-in."""

    wrong = CliRunner().invoke(build, ["--model", "resent50"])
    assert wrong.exit_code == 2
    assert "'resent50'" in wrong.output
    assert "resnet50" in wrong.output
    assert "`all`" in wrong.output
    assert "--model NAME" in CliRunner().invoke(build, ["--help"]).output
