"""Checkpoints as the code of other tools writes them give the outputs of that code.

`reference_layouts.json.gz` was recorded from their code. For each layout it holds the names and
shapes in the state dict, the clip's shape, and logits; weights follow from the names, see `fill`.
"""

from __future__ import annotations

import gzip
import json
import math
import pickle
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twostream.models import checkpoint_formats
from twostream.models.external_checkpoints import CHECKPOINT_FORMATS, read_external, recognise
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


def fill(named: list[tuple[str, list[int]]], *, affinity: float = 0.05) -> dict[str, Tensor]:
    """Weights that depend on the names alone, so that they are the same in all tools.

    Those of non-local blocks' affinities are smaller: softmax of large products would double each
    rounding, and without softmax they grow from block to block.
    """
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
        state[name] = affinity * noise if re.search("theta|phi", name) else noise
    return state


def clip(shape: list[int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_are_those_of_the_reference(layout: str) -> None:
    entry = LAYOUTS[layout]
    path = Path(entry["file"])
    filled = fill(entry["names"], affinity=entry.get("affinity", 0.05))
    external = recognise(path, {"state_dict": filled})
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
    assert formats - {"tsm"} | {"caffe2", "torchvision"} == CHECKPOINT_FORMATS.keys()


def caffe2_name(name: str) -> str:
    """What Caffe2 calls a layer of PySlowFast: `res4_1_branch2a_bn_riv`, `nonlocal_conv3_1_g_w`."""
    values = {"weight": "w", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    layer, _, value = name.rpartition(".")
    is_norm = layer.endswith("bn")
    value = "s" if is_norm and value == "weight" else values[value]
    for pattern, blob in (
        (r"^s1\.pathway0_stem\.conv", "conv1"),
        (r"^s1\.pathway0_stem\.bn", "res_conv1_bn"),
        (r"^s(\d)\.pathway0_res(\d+)\.branch(\d)\.?", r"res\1_\2_branch\3"),
        (r"^s(\d)\.pathway0_nonlocal(\d+)\.(conv_)?", r"nonlocal_conv\1_\2_"),
        (r"^head\.projection", "pred"),
    ):
        layer = re.sub(pattern, blob, layer)
    return f"{layer}_{value}"


def test_caffe2_files_of_the_model_zoo_are_those_networks(tmp_path: Path) -> None:
    """A plain pickle of arrays, as PySlowFast reads it; "affine": without statistics."""
    state = {
        name: (torch.arange(math.prod(shape)) % 89 + zlib.crc32(name.encode()) % 997 + 1.0).reshape(
            shape
        )
        for name, shape in LAYOUTS["slowfast I3D NLN"]["names"]
        if not name.endswith("num_batches_tracked")
    }
    blobs = {caffe2_name(name): tensor.numpy() for name, tensor in state.items()}
    assert {"res2_0_branch1_bn_s", "res4_1_branch2a_w", "nonlocal_conv3_1_bn_riv"} <= blobs.keys()
    blobs |= {"conv1_w_momentum": np.zeros(2), "lr": np.ones(1), "model_iter": np.ones(1, int)}
    file = tmp_path / "I3D_NLN_8x8_R50.pkl"
    for affine in (False, True):
        if affine:
            state |= {n: torch.zeros_like(t) for n, t in state.items() if n.endswith("_mean")}
            state |= {n: torch.ones_like(t) for n, t in state.items() if n.endswith("_var")}
            blobs = {n: blob for n, blob in blobs.items() if not n.endswith(("_rm", "_riv"))}
        file.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
        external = read_external(file)
        original = recognise(Path("I3D_NLN_8x8_R50.pyth"), state)
        assert original is not None
        assert external.format == "caffe2" in checkpoint_formats(external.model, "spatial")
        described = (external.model, external.clip_length, external.frame_interval, external.mean)
        assert described == ("nonlocal-i3d-resnet50", 8, 8, original.mean)
        assert external.model_options == original.model_options == {"stem_stride": 1}
        for ours, expected in ((external.layers, original.layers), (external.head, original.head)):
            assert ours.keys() == expected.keys()
            assert all(torch.allclose(ours[name], expected[name], rtol=2e-5) for name in ours)
    build_filled(external, spec_of(external, tuple("abcde")), source=str(file))


@pytest.mark.parametrize("content", [[1], {"a": 1}, {"blobs": {"conv1_w": "text"}}])
def test_other_pickles_are_no_weights(tmp_path: Path, content: Any) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"w\.pkl: .*`blobs`"):
        read_external(tmp_path / "w.pkl")


def test_stems_that_pool_pairs_of_frames_are_refused() -> None:
    names = {"res_conv1_bn_s": torch.zeros(64)}
    with pytest.raises(InputError, match=r"i3d_baseline_32x2_IN.pkl: .*8x8 or 32x4"):
        recognise(Path("i3d_baseline_32x2_IN.pkl"), names)
