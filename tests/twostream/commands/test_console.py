from __future__ import annotations

import sys

import click
import pytest
from click.testing import CliRunner

from twostream.commands import console


@pytest.mark.parametrize(
    ("words", "rank", "is_told"),
    [([], "0", True), (["--quiet"], "0", False), (["--json"], "0", False), ([], "1", False)],
)
def test_an_option_without_effect_is_told_once_and_to_people(
    monkeypatch: pytest.MonkeyPatch, words: list[str], rank: str, is_told: bool
) -> None:
    @click.command()
    @click.option("--fuse")
    @console.quiet_option
    @console.json_option
    def train(**options: object) -> None:
        console.tell_unused(["fuse"], options, needed="--stream joint")

    monkeypatch.setenv("RANK", rank)
    result = CliRunner().invoke(train, words, default_map={"fuse": "conv"})
    assert ("fuse has no effect without --stream joint" in result.stderr) == is_told


def test_progress_is_shown_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(console.LateProgress, "AFTER", 2.0)
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with console.LateProgress() as progress:
        for seconds, share in ((0, 0.0), (1.9, 0.1), (2.1, 0.25), (9, 0.5), (18, 0.75)):
            clock[0] = 100 + seconds
            progress("calibration", share)
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "calibration: 25% done after 2 s", "calibration: 75% done after 18 s",
    ]  # fmt: skip
    assert shown.out == ""


def test_progress_on_a_terminal_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.LateProgress, "AFTER", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.LateProgress() as progress:
        progress("weights", 0.5)
        progress("the page", 0.9)
    shown = capsys.readouterr().err
    assert "weights:  50%|" in shown
    assert "the page:  90%|" in shown
