from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from twostream.models import create_model, default_input_size
from twostream_base.errors import InputError


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"timm:resnet18 needs timm .*pip install .*\[timm\]"):
        create_model("timm:resnet18", num_classes=2)


@pytest.mark.parametrize("stream", ["spatial", "motion"])
@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit", "timm:test_convnext"])
def test_contract(name: str, stream: str, tmp_path: Path) -> None:
    """As every other picture network, for either stream; weights of a run fit again."""
    pytest.importorskip("timm")
    torch.manual_seed(0)
    network = create_model(name, num_classes=4, stream=stream)
    side = default_input_size(name)
    shape = (2, 3, network.modality.snippet_length, network.modality.channels, side, side)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8)
    logits = network(clips)
    assert logits.shape == (2, 3, 4)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    torch.save(network.state_dict(), tmp_path / "run.pth")
    again = create_model(name, num_classes=2, stream=stream, weights=tmp_path / "run.pth")
    with torch.inference_mode():
        assert torch.equal(again.eval().features(clips), network.eval().features(clips))


def test_weights_of_timm_adapt_to_flow(tmp_path: Path) -> None:
    """A file of its own, with its classifier; the first convolution becomes the mean over RGB."""
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("test_resnet", num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    for stream, channels in (("spatial", 3), ("motion", 20)):
        network = create_model(
            "timm:test_resnet", num_classes=2, stream=stream, weights=tmp_path / "timm.pth"
        )
        (first,) = [w for k, w in theirs.named_parameters() if k == "conv1.0.weight"]
        ours = network.backbone.get_parameter("conv1.0.weight")
        assert ours.shape[1] == channels
        expected = first if channels == 3 else first.mean(dim=1, keepdim=True).expand_as(ours)
        assert torch.equal(ours, expected)


def test_what_timm_does_not_have_is_refused() -> None:
    pytest.importorskip("timm")
    for name in ("resnet51x", "hf_hub:someone/model", "local-dir:/tmp/x"):
        with pytest.raises(InputError, match="timm has no network") as caught:
            create_model(f"timm:{name}", num_classes=2)
        assert name in str(caught.value)
    for option in ("checkpoint_path", "pretrained", "pretrained_cfg_overlay", "cache_dir"):
        with pytest.raises(InputError, match=f"takes no option '{option}'"):
            create_model("timm:test_resnet", num_classes=2, **{option: "x"})
    with pytest.raises(InputError, match=r"cannot take .*'depth'"):
        create_model("timm:test_resnet", num_classes=2, depth=3)
    with pytest.raises(InputError, match=r"no kinetics400 weights for timm:test_resnet"):
        create_model("timm:test_resnet", num_classes=2, weights="kinetics400")


def test_a_network_whose_input_meets_several_layers_takes_rgb_alone() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        network = create_model("timm:crossvit_9_240", num_classes=2)
        assert network.feature_size > 0
        with pytest.raises(InputError, match=r"RGB frames alone.*patch_embed\.0\.proj and patch"):
            create_model("timm:crossvit_9_240", num_classes=2, stream="motion")
