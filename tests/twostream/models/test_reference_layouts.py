"""Checkpoints as the code of other tools writes them give the outputs of that code.

`reference_layouts.json.gz` was recorded from their code. For each layout it holds the names and
shapes in the state dict, the clip's shape, and logits; weights follow from the names, see `fill`.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from twostream.models import checkpoint_formats
from twostream.models.external_checkpoints import CHECKPOINT_FORMATS, recognise
from twostream.models.external_networks import build_filled, spec_of
from twostream_base.errors import InputError

FILE = Path(__file__).with_name("reference_layouts.json.gz")
LAYOUTS: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))


@pytest.fixture(autouse=True)
def _no_first_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them stays: every layer is filled, or the network refused."""
    for name in vars(nn.init):
        if name.endswith("_") and not name.startswith("_"):
            monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def fill(named: list[tuple[str, list[int]]]) -> dict[str, Tensor]:
    """Weights that depend on the names alone, so that they are the same in all tools."""
    state = {}
    for name, shape in named:
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        noise = torch.randn(shape, generator=generator)
        is_norm = re.search("bn|norm", name)
        if name.endswith("num_batches_tracked"):
            noise = torch.tensor(7)
        elif name.endswith("running_var"):
            noise = 1 + 0.1 * noise.abs()
        elif sum(side > 1 for side in shape) > 1 or (
            len(shape) > 1 and name.endswith("weight") and not is_norm
        ):
            noise = noise * (2 / max(1, math.prod(shape[1:]))) ** 0.5
        else:
            noise = 1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise
        # Softmax of large products would double each rounding.
        state[name] = 0.05 * noise if re.search("theta|phi", name) else noise
    return state


def clip(shape: list[int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_are_those_of_the_reference(layout: str) -> None:
    entry = LAYOUTS[layout]
    path = Path(entry["file"])
    external = recognise(path, {"state_dict": fill(entry["names"])})
    assert external is not None
    assert external.model == entry["model"]
    stored = clip(entry["clip"])
    spec = spec_of(external, tuple(map(str, range(external.num_classes))))
    spec = replace(spec, clip_length=stored.shape[2])
    expected = torch.tensor(entry["logits"])
    with torch.inference_mode():
        logits = build_filled(external, spec, source=str(path)).eval()(stored)[0, 0, :5]
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_loaded_by_half(layout: str) -> None:
    """A layer that is missing, left over, or of another shape is named."""
    entry = LAYOUTS[layout]
    state = {name: torch.zeros(shape) for name, shape in entry["names"]}
    path = Path(entry["file"])
    norms = [name for name in state if name.endswith("running_mean")]
    del state[norms[-1]]
    state[norms[0].replace("running_mean", "scale")] = torch.zeros(2)
    state[norms[1]] = torch.zeros(3)
    external = recognise(path, {"state_dict": state})
    assert external is not None
    with pytest.raises(InputError) as caught:
        build_filled(external, spec_of(external, ("a",)), source=str(path))
    for fact in (f"{path}: ", "is absent", "is not part of it", "is (3,) instead of", "scale"):
        assert fact in str(caught.value)


def test_every_format_has_a_reference_and_the_list_of_networks_says_what_it_fills() -> None:
    formats = set()
    for entry in LAYOUTS.values():
        names = {name: torch.zeros(shape) for name, shape in entry["names"]}
        external = recognise(Path(entry["file"]), names)
        assert external is not None
        assert external.format in checkpoint_formats(external.model, external.stream)
        formats.add(external.format)
    assert formats - {"tsm"} | {"torchvision"} == CHECKPOINT_FORMATS.keys()
