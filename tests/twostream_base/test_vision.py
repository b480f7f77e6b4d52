"""torchvision is imported in one place, whole or without its compiled operators."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision": raise RuntimeError("something else is wrong")
sys.meta_path.insert(0, Refusing())
try:
    import twostream_base.vision
except RuntimeError as error:
    assert str(error) == "something else is wrong", error
else:
    raise AssertionError("hidden")
del sys.meta_path[0]

import torch
from twostream_base.vision import torchvision
resnet = torchvision.models.resnet18(weights=None).eval()
assert resnet(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
raft = torchvision.models.optical_flow.raft_small(weights=None).eval()
assert raft(*torch.zeros(2, 1, 3, 128, 128), num_flow_updates=1)[0].shape == (1, 2, 128, 128)
"""


def test_networks_work_in_a_fresh_interpreter_and_no_other_error_is_hidden() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
