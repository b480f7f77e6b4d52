"""What each command shows, as one text: `outputs.txt`, a session in one small project.

After an intended change, write the file anew and read the difference:

    TWOSTREAM_OUTPUTS=write python -m pytest tests/twostream/commands/test_outputs.py

What depends on the machine is a mark there: numbers with a decimal point or a unit are `#`, counts
of right answers `k/N`, of `doctor` only the names of its findings are left. A new section is begun
by writing its `$ twostream ...`, between two others. (`init`, `fuse`, `tune`, `compare`, `table`,
`scores show`, `extract-flow`, `check-flow` and `export` are shown, with their numbers, in tests of
their own; `demo` runs the others.)
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from twostream.cli import COMMANDS, cli
from twostream.data import toy
from twostream.models import create_model
from twostream.sequence import toy as toy_sequences

from ..conftest import MiniProject

OUTPUTS = Path(__file__).with_name("outputs.txt")
ELSEWHERE = {
    "run",
    "weights",
    "init",
    "fuse",
    "tune",
    "compare",
    "events",
    "features",
    "table",
    "extract-flow",
    "check-flow",
    "export",
    "demo",
}
TRAINING = """
model = "shufflenet_v2_x0_5"
weights = "none"
input-size = 32
segments = 1
batch-size = 4
epochs = 1
val-fraction = 0.3
protocol = "segments:1"
val-protocol = "segments:1"
device = "cpu"
precision = "fp32"
"""


def sections(text: str) -> dict[str, str]:
    """Command -> what it shows."""
    parts = re.split(r"^\$ twostream (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


EXPECTED = sections(OUTPUTS.read_text())


def without_numbers(command: str, output: str) -> str:
    """The same on every machine."""
    if command.startswith("doctor"):
        findings = re.findall(r"^(?:ok|--)  ([^:]*):", output, re.MULTILINE)
        output = "".join(f"{finding}\n" for finding in findings)
    output = re.sub(r"^loading is .*\n", "", output, flags=re.MULTILINE)
    output = re.sub(r"(?<=; scale )\d+(?= px)", "#", output)  # releases of OpenCV differ a little
    output = re.sub(r"-?\d+\.\d+(e[-+]?\d+)?|\b\d[\d,]*(?= (%|MB|s|videos/s)\W)", "#", output)
    output = re.sub(r" *# *", lambda match: re.sub(" +", " ", match[0]), output)  # no columns
    if command.startswith("recognize"):
        output = re.sub(r"\b\d+ ?(?=errors|\()|(?<=s )\d+", "#", output)
    output = re.sub(r"\b\d+/(\d+) #", r"k/\1 #", output)
    output = re.sub(r"\(\d+ of ", "(k of ", output)
    return re.sub(r"\w+(?= #%)", "CLASS", output)


@pytest.fixture(scope="module")
def shown(mini: MiniProject, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Command -> what it shows now, all run one after the other in one project."""
    folder = tmp_path_factory.mktemp("outputs")
    for name in ("videos", "annotations", "store"):
        (folder / name).symlink_to(mini.root / name)
    settings = {name: name for name in ("videos", "annotations", "store", "runs")}
    settings["dataset"] = "ucf101"
    lines = [f'{name} = "{value}"' for name, value in settings.items()]
    (folder / "twostream.toml").write_text("\n".join(lines))
    (folder / "small.toml").write_text(TRAINING)
    (folder / "said.txt").write_text("A B C\nD E\n")
    (folder / "heard.txt").write_text("A X C\nD E\n")
    network = create_model("resnet18", num_classes=len(toy.CLASSES[:2]))
    state = {f"module.{name}": value for name, value in network.backbone.state_dict().items()}
    state |= {f"module.fc.{name}": value for name, value in network.classifier.named_parameters()}
    torch.save({"epoch": 3, "state_dict": state}, folder / "other.pth.tar")
    outputs = {}
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_sequences, "COUNTS", {"train": 5, "val": 1, "test": 2})
        patch.setenv("COLUMNS", "100")
        for command in EXPECTED:
            done = CliRunner().invoke(cli, shlex.split(command))
            output = done.output.replace(f"{folder}/", "").replace(f"{mini.root}/", "")
            outputs[command] = without_numbers(command, output)
            if done.exit_code:
                outputs[command] += f"exit code {done.exit_code}\n"
    if os.environ.get("TWOSTREAM_OUTPUTS") == "write":
        text = "".join(f"$ twostream {command}\n{output}" for command, output in outputs.items())
        OUTPUTS.write_text(text)
    return outputs


@pytest.mark.parametrize("command", EXPECTED)
def test_what_is_shown(shown: dict[str, str], command: str) -> None:
    assert shown[command] == sections(OUTPUTS.read_text())[command]


def test_every_command_is_shown_somewhere() -> None:
    assert {command.split()[0] for command in EXPECTED} | ELSEWHERE == COMMANDS.keys()
