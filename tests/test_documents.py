"""The documents tell the truth: commands exist, examples run, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch

from twostream.cli import cli
from twostream.transforms.presets import MODALITIES

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
SCRIPTS = {name: ROOT / "bin" / name for name in ("reproduce-ucf101", "reproduce-hmdb51")}
TEXT = "\n".join(path.read_text() for path in [*DOCUMENTS, ROOT / "bin" / "reproduction"])
COMMANDS = sorted(
    {
        line.strip().split("  #")[0]
        for line in re.findall(
            r"^(?:    |# own\.py +)(twostream .+)$", TEXT.replace("\\\n", " "), re.MULTILINE
        )
    }
)
EXAMPLES = re.findall(r"```python\n(# own\.py .*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_and_their_options_exist(line: str) -> None:
    line, _, of_train = line.partition(" -- ")  # what `run` hands to `train`
    for words in (shlex.split(line)[1:], shlex.split(f"train {of_train}")):
        command: click.Command = cli
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_without_folders_say_how_they_are_used(name: str) -> None:
    done = subprocess.run([SCRIPTS[name]], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"    bin/{name} " in done.stderr
    assert "set -euo" not in done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (document.parent / target).exists(), target


def test_named_files_exist() -> None:
    folders = "twostream|flow_extract|fusion|twostream_base|tests|benchmarks|bin|docs"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", TEXT))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_text_is_wrapped_at_100(document: Path) -> None:
    """So that a diff shows which sentence has changed; tables and outputs cannot be wrapped."""
    without_outputs = re.sub(r"^```text\n.*?^```", "", document.read_text(), flags=re.M | re.S)
    lines = without_outputs.splitlines()
    assert [line for line in lines if len(line) > 100 and not line.startswith(("|", "!["))] == []


def check_flow(make: Callable[..., Any]) -> None:
    flow = make(gain=2)(np.zeros((4, 8, 9, 3), np.uint8))
    assert (flow.shape, flow.dtype) == ((3, 8, 9, 2), np.float32)


def check_data_set(read: Callable[..., Any]) -> None:
    Path("train.txt").write_text("a/v1 0\n")
    Path("test.txt").write_text("a/v2 1\n")
    split = read(Path(), split=1)
    assert [record.label for record in (*split.train, *split.test)] == [0, 1]


def check_network(build: Callable[..., Any]) -> None:
    network = build(modality=MODALITIES["motion"], num_classes=5, weights="none")
    clips = torch.zeros(2, 3, 10, 2, 32, 32, dtype=torch.uint8)
    assert network(clips).shape == (2, 3, 5)


def check_consensus(consensus: Callable[..., Any]) -> None:
    assert consensus(torch.zeros(2, 3, 4)).shape == (2, 4)


def check_temporal(build: Callable[..., Any]) -> None:
    features, lengths = build(3)(torch.zeros(2, 7, 3), torch.tensor([7, 4]))
    assert (features.shape, lengths.tolist()) == ((2, 4, 3), [4, 2])


def check_learned_consensus(consensus: Any) -> None:
    head = consensus.build(feature_size=6, num_classes=4, hidden=5)
    assert head(torch.zeros(2, 3, 6)).shape == (2, 1, 4)


def check_protocol(protocol: Any) -> None:
    assert protocol.starts(9, protocol.num_snippets) == [0, 8]
    assert protocol.num_crops == 1


def check_strategy(strategy: Callable[..., Any]) -> None:
    assert strategy(np.ones((5, 3, 4)), p=3).shape == (5, 4)


def check_format(read: Callable[..., Any]) -> None:
    np.save("s.npy", np.zeros((5, 4), np.float32))
    assert read(Path("s.npy")).scores.shape == (5, 1, 1, 4)


CHECKS = {
    "difference": check_flow,
    "two_files": check_data_set,
    "tiny": check_network,
    "middle": check_consensus,
    "halve": check_temporal,
    "recurrent": check_learned_consensus,
    "first_and_last": check_protocol,
    "power": check_strategy,
    "npy": check_format,
}


@pytest.mark.parametrize("name", CHECKS)
def test_plug_in_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = [example for example in EXAMPLES if f"own:{name}" in example]
    scope: dict[str, Any] = {}
    exec(code, scope)
    CHECKS[name](scope[name])


def test_there_is_an_example_of_each_kind() -> None:
    assert len(EXAMPLES) == len(CHECKS)
    assert len(COMMANDS) > 15
