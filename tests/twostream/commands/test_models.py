from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from click.testing import Result

from twostream.models import MODELS


def test_the_list_loads_no_torch_and_holds_every_network_once() -> None:
    code = (
        "import sys; sys.argv = ['twostream', 'models', '--stream', 'motion']\n"
        "from twostream.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "False"  # what the last line of the code prints
    assert lines[:2] == [
        "ResNet: 10 flow pairs", "    resnet18 resnet34 resnet50 resnet101 resnet152",
    ]  # fmt: skip
    names = [name for line in lines if line.startswith("    ") for name in line.split()]
    assert names == list(MODELS)
    assert "TSM (temporal shift): 8 flow pairs spread over the video" in lines
    assert "3D ResNet: 16 flow pairs, 2 apart, at 112 pixels" in lines
    assert "MViT: 16 flow pairs, 4 apart" in lines


def test_figures_of_named_networks(twostream: Callable[..., Result]) -> None:
    lines = twostream("models", "i3d-resnet18", "tsm-resnet18").output.splitlines()
    assert [" ".join(line.split()) for line in lines[:3]] == [
        "snippet side parameters multiply-adds checkpoints of",
        "tsm-resnet18 8 spread 224 11.38 M 14.51 G mmaction2, tsm",
        "i3d-resnet18 32 x 2 224 17.02 M 23.62 G mmaction2, slowfast, caffe2, pytorchvideo",
    ]
    shown = json.loads(
        twostream("models", "mobilenet_v3_s*", "--stream", "motion", "--json").stdout
    )
    (row,) = shown["models"]
    assert row["input_size"] == 224
    assert row["checkpoint_formats"] == []  # no tool's network of flow
    assert (row["model"], row["family"], row["frames"]) == ("mobilenet_v3_small", "MobileNet", 10)
    assert row["parameters"] > 1e6
    assert "'resnet51'" in twostream("models", "s3d", "resnet51", exit_code=2).output


def test_all_for_a_program(twostream: Callable[..., Result]) -> None:
    shown = json.loads(twostream("models", "--json").stdout)
    assert [row["model"] for row in shown["models"]] == list(MODELS)
    assert all("parameters" not in row for row in shown["models"])
    formats = {row["model"]: row["checkpoint_formats"] for row in shown["models"]}
    assert formats["resnet18"] == ["mmaction2", "tsn-pytorch", "two-stream", "torchvision"]
    assert formats["mask-nonlocal-i3d-resnet50"] == []
