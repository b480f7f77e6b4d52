from __future__ import annotations

import json
from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch

from twostream.models import MODELS
from twostream.models.initial_weights import initial_weights, read_weights
from twostream.transforms.presets import IMAGENET_MEAN, IMAGENET_STD, MODALITIES, modality_of
from twostream_base.errors import InputError
from twostream_base.vision import torchvision


@pytest.fixture
def resnet18_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(torchvision.models.resnet18(weights=None).state_dict())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file(
    tmp_path: Path, resnet18_state: dict[str, torch.Tensor], suffix: str
) -> None:
    """Everything but the classifier is taken; a file from before batch counters is good too."""
    path = tmp_path / f"resnet18{suffix}"
    old = {k: v for k, v in resnet18_state.items() if not k.endswith("num_batches_tracked")}
    if suffix == ".pth":
        torch.save(old, path)
    else:
        safetensors.torch.save_file(old, path)
    network = MODELS["resnet18"](modality=MODALITIES["motion"], num_classes=5, weights=str(path))
    layers = network.backbone
    assert torch.equal(layers.layer4[1].conv2.weight, old["layer4.1.conv2.weight"])
    assert torch.equal(layers.conv1.weight[:, 11], old["conv1.weight"].mean(dim=1))
    assert network.classifier.weight.shape == (5, 512)


def test_weights_of_a_run(tmp_path: Path) -> None:
    """The same stream takes them as they are, normalisation too; flow adapts RGB's."""
    path = tmp_path / "weights.safetensors"
    for stream, modality in MODALITIES.items():
        torch.manual_seed(3)
        trained = MODELS["resnet18"](modality=modality, num_classes=7)
        trained.mean.fill_(1.0)
        trained.std.fill_(254.0)
        safetensors.torch.save_file(trained.state_dict(), path)
        again = MODELS["resnet18"](modality=modality, num_classes=5, weights=str(path))
        shape = (1, 2, modality.snippet_length, modality.channels, 32, 32)
        clips = torch.randint(0, 256, shape, dtype=torch.uint8)
        assert torch.equal(again.eval().features(clips), trained.eval().features(clips))
        if stream == "spatial":
            flow = MODELS["resnet18"](
                modality=MODALITIES["motion"], num_classes=5, weights=str(path)
            )
            rgb = trained.backbone.conv1.weight
            assert torch.equal(flow.backbone.conv1.weight[:, 19], rgb.mean(dim=1))
            assert flow.mean.unique().tolist() == [128.0]


def test_the_normalisation_of_a_run_goes_with_clips_of_other_lengths(tmp_path: Path) -> None:
    """A network that began with Kinetics' statistics has them again with 2 frames instead of 4."""
    path = tmp_path / "weights.safetensors"
    clips = {
        frames: modality_of("spatial", clip_length=frames, frame_interval=1) for frames in (2, 4)
    }
    trained = MODELS["tsm-mobilenet_v2"](modality=clips[4], num_classes=2)
    trained.mean.copy_(torch.tensor([110.0, 100.0, 95.0]).repeat(4)[:, None, None])
    header = {"twostream": json.dumps({"stream": "spatial"})}
    safetensors.torch.save_file(trained.state_dict(), path, metadata=header)
    again = MODELS["tsm-mobilenet_v2"](modality=clips[2], num_classes=2, weights=str(path))
    assert again.mean.flatten().tolist() == [110.0, 100.0, 95.0] * 2
    differences = modality_of("difference", clip_length=5, frame_interval=1)  # four, as long
    other = MODELS["tsm-mobilenet_v2"](modality=differences, num_classes=2, weights=str(path))
    assert other.mean.unique().tolist() == [0.0]


def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, resnet18_state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "weights.pth"
    resnet18_state["conv1.weight"] = torch.zeros(64, 10, 7, 7)
    del resnet18_state["bn1.bias"]
    resnet18_state["head.weight"] = torch.zeros(1)
    torch.save(resnet18_state, path)
    with pytest.raises(InputError) as caught:
        MODELS["resnet18"](modality=MODALITIES["motion"], num_classes=5, weights=str(path))
    for part in ("bn1.bias is absent", "head.weight is not part", "(64, 10, 7, 7) instead of"):
        assert part in str(caught.value)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('executed', 'w').close()",))


def test_weights_never_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Hostile()}, "hostile.pth")
    with pytest.raises(InputError, match="hostile.pth: cannot be read safely"):
        read_weights(Path("hostile.pth"))
    assert not Path("executed").exists()


@pytest.mark.filterwarnings("ignore")  # torch warns of the old format that the noise may be
@pytest.mark.parametrize("content", [b"", b"some text", b"\x80\x02}q\x00."])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    network = MODELS["resnet18"]
    with pytest.raises(InputError, match="weights.pth"):
        network(modality=MODALITIES["spatial"], num_classes=2, weights=str(path))


def test_missing_weights_file() -> None:
    with pytest.raises(InputError, match="nowhere.pth: no such file, nor a published"):
        initial_weights("nowhere.pth", model="resnet18")


def test_a_backbone_of_another_tool_has_no_normalisation(tmp_path: Path) -> None:
    layer = {"conv1.weight": torch.zeros(2, 3, 1, 1)}
    torch.save({f"backbone.{name}": tensor for name, tensor in layer.items()}, tmp_path / "w.pth")
    start = initial_weights(str(tmp_path / "w.pth"), model="resnet18")
    assert (start.layers.keys(), start.normalisation) == (layer.keys(), {})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_pretrained_weights_bring_the_normalisation_they_were_trained_with(cache: Path) -> None:
    """torchvision's networks of clips have Kinetics' statistics, its picture networks ImageNet's.

    Flow and differences have none of RGB's.
    """
    kinetics = [110.2008, 100.63983, 95.99475], [58.14765, 56.46975, 55.332195]
    for model, file, weights, stream, (mean, std) in (
        ("mc3_18", "mc3_18-a90a0ba3.pth", "kinetics400", "spatial", kinetics),
        ("mc3_18", "mc3_18-a90a0ba3.pth", "kinetics400", "motion", ([128.0] * 2, [57.63] * 2)),
        ("resnet18", "resnet18-f37072fd.pth", "imagenet", "spatial", (IMAGENET_MEAN, IMAGENET_STD)),
        ("resnet18", "resnet18-f37072fd.pth", "imagenet", "difference", ([0.0], IMAGENET_STD)),
    ):
        if not (cache / file).exists():
            network = torchvision.models.get_model(model, weights=None)
            torch.save(network.state_dict(), cache / file)
        modality = MODALITIES[stream]
        length = 5 if model == "mc3_18" else modality.network_length
        if model == "mc3_18":
            modality = modality_of(stream, clip_length=length, frame_interval=2)
        network = MODELS[model](modality=modality, num_classes=2, weights=weights)
        channels = modality.channels
        for tensor, expected in ((network.mean, mean), (network.std, std)):
            assert tensor.shape == (length * channels, 1, 1)
            frames = tensor.flatten().unflatten(0, (length, channels))
            assert torch.equal(frames, torch.tensor(expected).expand(length, channels))


def test_a_damaged_file_in_the_cache_is_named(cache: Path) -> None:
    damaged = cache / "resnet18-f37072fd.pth"
    for content in (b"", b"<html>not found</html>", b"PK\x03\x04 cut off"):
        damaged.write_bytes(content)
        with pytest.raises(InputError, match="[Dd]elete this file") as caught:
            MODELS["resnet18"](modality=MODALITIES["spatial"], num_classes=2, weights="imagenet")
        assert str(damaged) in str(caught.value)
    torch.save({"conv1.weight": Hostile()}, damaged)
    with pytest.raises(InputError, match="damaged"):
        MODELS["resnet18"](modality=MODALITIES["spatial"], num_classes=2, weights="imagenet")


def test_weights_that_cannot_be_fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says where from and where to; nothing is asked of a network here."""

    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(InputError) as caught:
        MODELS["resnet18"](modality=MODALITIES["spatial"], num_classes=2, weights="imagenet")
    name = "resnet18-f37072fd.pth"
    for part in ("no network", f"models/{name}", str(cache / name), "--weights FILE"):
        assert part in str(caught.value)
