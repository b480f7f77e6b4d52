"""Files that fill in options: which of two values wins, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from twostream.cli import cli
from twostream.commands.option_files import find_project, option_defaults, read_project, recipes
from twostream.commands.train_options import (
    augmentation_options,
    memory_options,
    network_options,
    recipe_options,
    regularisation_options,
    schedule_options,
    snippet_options,
)
from twostream_base.errors import InputError
from twostream_base.files import write_toml
from twostream_base.plugins import TrustedName

OWN = """
segments = 5
lr = 0.5
milestones = [3, 4]
flip = false
[motion]
lr = 0.25
"""


@click.command()
@recipe_options
@network_options
@snippet_options
@schedule_options
@augmentation_options
@regularisation_options
@memory_options
@click.pass_context
def train(ctx: click.Context, **options: Any) -> None:
    ctx.obj.update(options)


def parse(*arguments: str, project: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    CliRunner().invoke(
        train, arguments, obj=found, default_map=project, catch_exceptions=False,
        standalone_mode=False,
    )  # fmt: skip
    return found


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.toml").write_text(OWN)
    return str(tmp_path / "own.toml")


@pytest.mark.parametrize("command", ["extract-flow", "fuse"])
def test_a_path_that_is_none(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("twostream.toml").write_text("[extract-flow]\nvideos = 5\n[fuse]\nclass-weights = 5\n")
    result = CliRunner().invoke(cli, [command])
    assert result.exit_code == 2, result.output
    assert "5 is no path; in a file of options it stands in quotes" in result.output


@pytest.mark.parametrize("order", [1, -1])
def test_the_table_of_the_stream_wins_over_the_rest_of_the_file(own: str, order: int) -> None:
    pairs = [["--recipe", own], ["--stream", "motion"]][::order]
    found = parse(*pairs[0], *pairs[1])
    assert (found["num_segments"], found["lr"], found["milestones"]) == (5, 0.25, (3, 4))
    assert found["flip"] is False
    assert parse("--recipe", own, "--stream", "spatial")["lr"] == 0.5


def test_the_command_line_wins_over_files_and_files_over_the_project(
    own: str, tmp_path: Path
) -> None:
    project = {"lr": 0.125, "model": "resnet50"}
    found = parse("--recipe", own, "--stream", "motion", project=project)
    assert (found["lr"], found["model"]) == (0.25, "resnet50")
    given = parse("--lr", "1", "--flip", "--recipe", own, "--stream", "motion")
    assert (given["lr"], given["flip"]) == (1.0, True)
    (tmp_path / "config.toml").write_text("num-segments = 7\nlr = 2.0\n")
    later = parse("--stream", "spatial", "--recipe", own, "--config", str(tmp_path / "config.toml"))
    assert (later["num_segments"], later["lr"]) == (7, 2.0)


def test_a_file_wins_over_the_recipe_that_it_names(own: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"recipe = {json.dumps(own)}\nlr = 2.0\n")
    found = parse("--stream", "spatial", "--config", str(config), project={"num_segments": 9})
    assert (found["num_segments"], found["lr"]) == (
        parse("--recipe", own, "--stream", "spatial")["num_segments"],
        2.0,
    )
    found = parse("--stream", "spatial", project={"recipe": own, "lr": 2.0})
    assert (found["num_segments"], found["lr"]) == (
        parse("--recipe", own, "--stream", "spatial")["num_segments"],
        2.0,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "learning-rate = 1",
            "own.toml: `train` has no option 'learning-rate'; allowed: accumulate",
        ),
        ("[motion]\nlrr = 1", r"own.toml, \[motion\]: `train` has no option 'lrr'"),
        ("[flow]\nlr = 1", "has no option 'flow'"),
        ("lr = = 1", "not a valid TOML file"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        parse("--stream", "motion", "--recipe", str(tmp_path / "own.toml"))


def test_a_wrong_value_names_its_option(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('dropout = "much"')
    with pytest.raises(click.BadParameter, match="'much' is not a valid float"):
        parse("--stream", "motion", "--recipe", str(tmp_path / "own.toml"))


def test_an_unknown_recipe() -> None:
    with pytest.raises(click.BadParameter, match="neither one of kinetics-i3d, .*strong nor"):
        parse("--recipe", "strng")


def test_a_recipe_is_printed_to_be_copied() -> None:
    printed = CliRunner().invoke(train, ["--show-recipe", "strong"])
    assert printed.exit_code == 0
    assert printed.output == recipes()["strong"].read_text()


def test_the_recipes_come_along() -> None:
    assert list(recipes()) == [
        *("kinetics-i3d", "kinetics-tsm", "kinetics-tsn", "lab-notes-motion", "lab-notes-spatial"),
        *("something-i3d", "strong"),
    ]


def test_round_trip_makes_paths_absolute(tmp_path: Path) -> None:
    path = tmp_path / "twostream.toml"
    settings = {"dataset": "ucf101", "videos": "../UCF 101", "split": 2, "allow-missing": True}
    write_toml(path, settings, title="a title")
    assert read_project(path) == {**settings, "videos": str(tmp_path.parent / "UCF 101")}
    assert path.read_text().startswith("# a title\n")


def test_the_nearest_project_counts(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    told: list[str] = []
    assert find_project(below, tell=told.append) is None
    (tmp_path / "twostream.toml").touch()
    (tmp_path / "a" / "twostream.toml").touch()
    assert find_project(below, tell=told.append) == tmp_path / "a" / "twostream.toml"
    assert told == []


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


PROJECT = Path("twostream.toml")
SETTINGS = {"store": "/s", "videos": "/v", "allow-missing": True, "learn": {"lr": 0.1}}


def test_defaults_of_a_command_are_the_shared_ones_and_its_own_table() -> None:
    defaults = option_defaults(learn, "learn", SETTINGS, path=PROJECT)
    assert defaults == {"store": "/s", "allow_missing": True, "lr": 0.1}
    result = CliRunner().invoke(learn, ["--lr", "0.2"], default_map=defaults)
    assert result.output == "[('allow_missing', True), ('lr', 0.2), ('store', '/s')]\n"


def test_defaults_reach_the_commands_of_a_group() -> None:
    group = click.Group("outer", commands={"learn": learn})
    settings = {**SETTINGS, "outer": {"learn": {"lr": 0.1}}}
    assert option_defaults(group, "outer", settings, path=PROJECT) == {
        "learn": {"store": "/s", "allow_missing": True, "lr": 0.1}
    }


def test_unknown_option_in_a_table() -> None:
    with pytest.raises(InputError, match=r"\[learn\] has no option 'rate'; allowed: .*lr"):
        option_defaults(learn, "learn", {"learn": {"rate": 1}}, path=PROJECT)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of POSIX")
@pytest.mark.parametrize("what", ["folder", "sticky folder", "file", "owner"])
def test_a_project_that_others_could_have_put_there_is_left_alone(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search ends there: what lies above is not taken either."""
    (tmp_path / "twostream.toml").touch()
    shared = tmp_path / "shared"
    (shared / "below").mkdir(parents=True)
    told: list[str] = []
    if what == "owner":
        monkeypatch.setattr("os.geteuid", lambda: shared.stat().st_uid + 1)
    elif what == "file":
        (shared / "twostream.toml").touch()
        (shared / "twostream.toml").chmod(0o666)
    else:
        shared.chmod(0o777 if what == "folder" else 0o1777)
    if what != "file":
        start = shared if what == "owner" else shared / "below"
        assert find_project(start, tell=told.append) is None
        assert told == []  # there is none whose absence could be missed
        (shared / "twostream.toml").touch()
    assert find_project(shared, tell=told.append) is None
    (line,) = told
    reason = "belongs to another user" if what == "owner" else "everybody can write to"
    assert line.startswith(f"{shared / 'twostream.toml'} is not used: ")
    assert reason in line
    assert f"--project {shared / 'twostream.toml'}" in line


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("train", "restart", "true"), ("check-flow", "repair", "true"),
        ("check-flow", "prune", "true"),
        ("extract-flow", "scheduler", "'tcp://elsewhere:8786'"), ("score", "trust-plugins", "true"),
        ("report", "out", "'.bashrc'"), ("scores.export", "out", "'.bashrc'"),
        ("train-sequence", "restart", "true"),
    ],
)  # fmt: skip
def test_what_runs_code_or_deletes_or_is_written_must_be_typed(
    words: str, key: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twostream.toml").write_text(f"[{words}]\n{key} = {value}\n")
    result = CliRunner().invoke(cli, words.split("."))
    assert result.exit_code == 2
    assert f"{tmp_path / 'twostream.toml'}: {key!r} is not for a file to set" in result.output
    assert f"--{key} on the command line" in result.output


def test_a_recipe_sets_data_only(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('model = "own:tiny"\n[motion]\nconsensus = "own:middle"\n')
    common = ["--stream", "motion", "--recipe", str(tmp_path / "own.toml")]
    with pytest.raises(InputError, match=r"own.toml: model = 'own:tiny' would run code.*--model"):
        parse(*common)
    with pytest.raises(InputError, match=r"own.toml: consensus = 'own:middle' would run code"):
        parse(*common, "--model", "own:tiny")
    found = parse(*common, "--model", "own:tiny", "--consensus", "own:middle")
    assert [type(found[key]) for key in ("model", "consensus")] == [TrustedName, TrustedName]
    assert type(parse("--stream", "motion")["model"]) is str


def test_a_command_says_what_it_takes_from_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    path = tmp_path / "twostream.toml"
    path.write_text('dataset = "ucf101"\nstore = "store"\nvideos = "videos"\n')

    def errors(*arguments: str) -> list[str]:
        lines = CliRunner().invoke(cli, ["check-flow", *arguments]).stderr.splitlines()
        return [line for line in lines if line.startswith("options from")]

    assert errors() == [f"options from {path}: store, videos"]
    assert errors("--store", str(tmp_path / "store")) == [f"options from {path}: videos"]
    assert errors("--quiet") == errors("--json") == []
    assert errors("--store", "..", "--videos", "..") == []
