from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner

from twostream.cli import cli
from twostream.commands.option_types import COUNT_OR_AUTO, PlugIn, numbers
from twostream.commands.shared_options import find_device
from twostream_base.errors import InputError


@pytest.mark.parametrize(("given", "expected"), [("auto", "auto"), ("4", 4), (4, 4)])
def test_count_or_auto(given: Any, expected: Any) -> None:
    assert COUNT_OR_AUTO.convert(given, None, None) == expected


@pytest.mark.parametrize("given", ["0", "-1", "half", "", "²", "1.5"])
def test_what_is_no_count(given: str) -> None:
    with pytest.raises(click.BadParameter, match="neither a whole number from 1 nor auto"):
        COUNT_OR_AUTO.convert(given, None, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("15,25", (15, 25)), ([15, 25], (15, 25)), ("", ()), ((), ()), ("7", (7,))],
)
def test_epochs(given: Any, expected: Any) -> None:
    assert numbers("epochs", least=1).convert(given, None, None) == expected


@pytest.mark.parametrize("given", ["a,b", "25,15", "0,5", "5,5", "5,,6"])
def test_what_are_no_epochs(given: str) -> None:
    with pytest.raises(click.BadParameter, match="epochs"):
        numbers("epochs", least=1).convert(given, None, None)


ENTRIES = {"mean": min, "max": max}


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


def test_looking_for_a_gpu_takes_no_memory_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process of torchrun looks; a tensor would put a context of each onto GPU 0."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", pytest.fail)
    assert [find_device(name) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(InputError, match=r"--device cuda:2 .* 2 CUDA GPUs .*--device cpu"):
        find_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"--device cuda .*no CUDA GPU"):
        find_device("cuda")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("extract-flow --store s --videos", "https://site/UCF101/v.avi"),
        ("init --dataset ucf101 --videos v --annotations", "s3://bucket/lists"),
        ("fuse", "https://site/scores.safetensors"),
        ("run", "gs://bucket/videos"),
        ("train-sequence --dataset csv --annotations a --videos", "file:///videos"),
    ],
)
def test_an_address_is_named_as_such(
    command: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, [*command.split(), option])
    assert result.exit_code == 2
    text = " ".join(result.output.replace("│", "").split())
    assert option in text
    assert "only files and folders of this machine are opened" in text
    assert "download it" in text
