from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from twostream.commands.project import find_project, option_defaults, read_project
from twostream_base.errors import InputError
from twostream_base.files import write_toml


def test_round_trip_makes_paths_absolute(tmp_path: Path) -> None:
    path = tmp_path / "twostream.toml"
    settings = {"dataset": "ucf101", "videos": "../UCF 101", "split": 2, "allow-missing": True}
    write_toml(path, settings, title="a title")
    assert read_project(path) == {**settings, "videos": str(tmp_path.parent / "UCF 101")}
    assert path.read_text().startswith("# a title\n")


def test_the_nearest_project_counts(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_project(below) is None or not find_project(below).is_relative_to(tmp_path)
    (tmp_path / "twostream.toml").touch()
    (tmp_path / "a" / "twostream.toml").touch()
    assert find_project(below) == tmp_path / "a" / "twostream.toml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset = ", "not a valid TOML file"),
        ("datset = 'ucf101'", "unknown key 'datset'; allowed: dataset, videos"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "twostream.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_project(tmp_path / "twostream.toml")


@click.command()
@click.option("--lr", type=float)
@click.option("--allow-missing", is_flag=True)
@click.option("--store")
def learn(**options: object) -> None:
    """Stand-in of a command."""
    click.echo(sorted(options.items()))


SETTINGS = {"store": "/s", "videos": "/v", "allow-missing": True, "learn": {"lr": 0.1}}


def test_defaults_of_a_command_are_the_shared_ones_and_its_own_table() -> None:
    defaults = option_defaults(learn, "learn", SETTINGS)
    assert defaults == {"store": "/s", "allow_missing": True, "lr": 0.1}
    result = CliRunner().invoke(learn, ["--lr", "0.2"], default_map=defaults)
    assert result.output == "[('allow_missing', True), ('lr', 0.2), ('store', '/s')]\n"


def test_defaults_reach_the_commands_of_a_group() -> None:
    group = click.Group("outer", commands={"learn": learn})
    settings = {**SETTINGS, "outer": {"learn": {"lr": 0.1}}}
    assert option_defaults(group, "outer", settings) == {
        "learn": {"store": "/s", "allow_missing": True, "lr": 0.1}
    }


def test_unknown_option_in_a_table() -> None:
    with pytest.raises(InputError, match=r"\[learn\] has no option 'rate'; allowed: .*lr"):
        option_defaults(learn, "learn", {"learn": {"rate": 1}})
