"""torchvision is imported in one place, whole or without its compiled operators."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import torch
from twostream_base.vision import torchvision
resnet = torchvision.models.resnet18(weights=None).eval()
assert resnet(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
raft = torchvision.models.optical_flow.raft_small(weights=None).eval()
assert raft(*torch.zeros(2, 1, 3, 128, 128), num_flow_updates=1)[0].shape == (1, 2, 128, 128)
"""
BROKEN = """
import sys, types
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision": raise RuntimeError("something else is wrong")
sys.meta_path.insert(0, Refusing())
import twostream_base.vision
"""


def test_networks_work_in_a_fresh_interpreter() -> None:
    subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, check=True)


def test_any_other_error_is_not_hidden() -> None:
    command = [sys.executable, "-c", BROKEN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "RuntimeError: something else is wrong" in done.stderr
