"""Checkpoints of other tools, made here in their own names and order, give their own outputs."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from twostream.cli import cli
from twostream.data.splits import Split, VideoRecord
from twostream.data.training_videos import find_seen
from twostream.models import MODELS, checkpoint_formats
from twostream.models.checkpoint import (
    load_weights,
    network_from_spec,
    read_spec,
    read_training_videos,
)
from twostream.models.external_checkpoints import read_external, recognise, sampling_of
from twostream.models.external_networks import open_weights, spec_of, write_imported
from twostream.models.segment_network import SegmentNetwork
from twostream.models.weight_files import load_safely, unwrap
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError
from twostream_base.vision import torchvision

from .test_reference_layouts import LAYOUTS

CLASSES = ("a", "b", "c", "d", "e")


def resnet(channels: int) -> nn.Module:
    torch.manual_seed(5)
    network = torchvision.models.resnet18(weights=None, num_classes=5)
    network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return network.eval()


def two_stream(network: nn.Module) -> dict[str, Tensor]:
    """Names of jeffreyyihuang/two-stream-action-recognition, trained on several GPUs."""
    named = {n.replace("fc.", "fc_custom."): t for n, t in network.state_dict().items()}
    named["conv1_custom.weight"] = named.pop("conv1.weight")
    return {f"module.{name}": tensor for name, tensor in named.items()}


def tsn(network: nn.Module) -> dict[str, Tensor]:
    """Names of yjxiong/tsn-pytorch with dropout: a new classifier beside the network."""
    named = {
        f"module.base_model.{n}": t
        for n, t in network.state_dict().items()
        if not n.startswith("fc.")
    }
    classifier = {f"module.new_fc.{n}": t for n, t in network.fc.state_dict().items()}
    return named | classifier


def imported(tmp_path: Path, checkpoint: dict[str, Any], **options: bool) -> SegmentNetwork:
    torch.save(checkpoint, tmp_path / "model_best.pth.tar")
    external = open_weights(str(tmp_path / "model_best.pth.tar"), class_names=CLASSES, **options)
    write_imported(tmp_path / "best", external)
    network = network_from_spec(read_spec(tmp_path / "best"))
    load_weights(tmp_path / "best", network)
    return network.eval()


def flow_clips() -> tuple[Tensor, Tensor]:
    """Ten pairs: as we store them, and as those tools' pictures have them (not rounded)."""
    rng = np.random.default_rng(0)
    stored = torch.from_numpy(rng.integers(1, 256, (1, 1, 10, 2, 64, 64), dtype=np.uint8))
    pixels = (stored.float() - 128) * 20 / 127
    return stored, (pixels + 20) * 255 / 40


def rotated_stack(pictures: Tensor) -> Tensor:
    """The loader of two-stream, written out: pair j goes to channels 2(j-1) and 2(j-1)+1."""
    flow = torch.empty(1, 20, 64, 64)
    for j in range(10):
        flow[0, 2 * (j - 1)] = pictures[0, 0, j, 0] / 255
        flow[0, 2 * (j - 1) + 1] = pictures[0, 0, j, 1] / 255
    return flow


@pytest.mark.parametrize("rotated", [True, False])
def test_motion_of_two_stream(tmp_path: Path, rotated: bool) -> None:
    original = resnet(20)
    checkpoint = {"epoch": 7, "best_prec1": np.float64(76.3), "state_dict": two_stream(original)}
    network = imported(tmp_path, checkpoint, rotated=rotated)
    stored, pictures = flow_clips()
    stack = rotated_stack(pictures) if rotated else pictures.reshape(1, 20, 64, 64) / 255
    with torch.inference_mode():
        assert torch.allclose(network(stored)[0], original(stack), atol=1e-4)
    card = read_spec(tmp_path / "best")
    assert (card.model, card.stream, card.epoch) == ("resnet18", "motion", 7)
    assert (card.selected_on, card.flow) == ("test", {"bound": 20.0})


def test_motion_of_tsn_looks_at_five_pairs(tmp_path: Path) -> None:
    original = resnet(10)
    network = imported(tmp_path, {"epoch": 8, "arch": "resnet18", "state_dict": tsn(original)})
    stored, pictures = flow_clips()
    stack = (pictures[0, :, :5].reshape(1, 10, 64, 64) / 255 - 0.5) / np.mean([0.229, 0.224, 0.225])
    with torch.inference_mode():
        assert torch.allclose(network(stored[:, :, :5])[0], original(stack.float()), atol=1e-4)
    spec = read_spec(tmp_path / "best")
    assert (spec.epoch, spec.clip_length, spec.frame_interval) == (7, 5, 1)


def mobilenet_of_the_tsm_repository() -> dict[str, Tensor]:
    """As published: its classifier bears the base network's name (test_models.py renames it)."""
    named = LAYOUTS["TSM MobileNetV2"]["names"]
    return {n.replace("new_fc", "base_model.classifier"): torch.zeros(shape) for n, shape in named}


def test_the_classifier_of_the_tsm_repositorys_mobilenet() -> None:
    external = recognise(Path("TSM_mobilenetv2.pth"), mobilenet_of_the_tsm_repository())
    assert external is not None
    assert (external.model, external.num_classes) == ("tsm-mobilenet_v2", 5)


@pytest.mark.parametrize("names", [two_stream, tsn, lambda network: network.state_dict()])
def test_spatial(tmp_path: Path, names: Any) -> None:
    original = resnet(3)
    network = imported(tmp_path, names(original))
    clips = torch.randint(0, 256, (1, 1, 1, 3, 64, 64), dtype=torch.uint8)
    statistics = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    mean, std = (torch.tensor(values)[:, None, None] for values in statistics)
    with torch.inference_mode():
        expected = original((clips[0, 0] / 255 - mean) / std)
        assert torch.allclose(network(clips)[0], expected, atol=1e-4)


def test_training_starts_from_it(tmp_path: Path) -> None:
    network = imported(tmp_path, {"state_dict": two_stream(resnet(20))})
    started = MODELS["resnet18"](
        modality=MODALITIES["motion"], num_classes=9,
        weights=str(tmp_path / "best" / "weights.safetensors"),
    ).eval()  # fmt: skip
    stored, _ = flow_clips()
    with torch.inference_mode():
        assert torch.equal(started.features(stored), network.features(stored))


SMALL = {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2)}
NETWORK = nn.Sequential(OrderedDict(a=nn.Linear(3, 2)))


def under(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in SMALL.items()}


@pytest.mark.parametrize(
    "content",
    [
        SMALL,
        {"state_dict": SMALL, "epoch": 3, "best": np.float64(1)},
        {"state_dict": SMALL, "args": Namespace(lr=0.1), "optimizer": {"state": {0: SMALL}}},
        {"model": SMALL},
        {"model_state": SMALL},
        {"model_state_dict": SMALL, "history": {"loss": np.arange(3.0)}},
        {"model": {"state_dict": under("module.")}},
        {"state_dict": under("module.model.")},
        under("_orig_mod."),
        under("module._orig_mod."),
        under("net."),
        NETWORK,
        {"net": NETWORK, "path": Path("here")},
        {"state_dict": nn.DataParallel(NETWORK).state_dict()},
    ],
)
def test_wrappers_are_taken_off(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "file.pth")
    layers = unwrap(tmp_path / "file.pth", load_safely(tmp_path / "file.pth"))
    assert list(layers) == list(SMALL)
    assert layers["a.weight"].shape == (2, 3)


@pytest.mark.parametrize(
    ("model", "clip"),
    [
        ("resnext50_32x4d", (1, 1)), ("wide_resnet50_2", (1, 1)), ("densenet121", (1, 1)),
        ("r3d_18", (16, 2)), ("s3d", (16, 2)), ("mvit_v2_s", (16, 4)), ("swin3d_t", (32, 2)),
    ],
)  # fmt: skip
def test_networks_of_torchvision_are_recognised(model: str, clip: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(model, num_classes=7)
    external = recognise(Path("file.pth"), network.state_dict())
    assert external is not None
    spec = spec_of(external, tuple("abcdefg"))
    assert (spec.model, external.num_classes) == (model, 7)
    assert external.format == "torchvision" == checkpoint_formats(model, "spatial")[-1]
    assert "torchvision" not in checkpoint_formats(model, "motion")
    assert (spec.clip_length, spec.frame_interval) == clip


@pytest.mark.parametrize(
    ("names", "head"),
    [("backbone.", "head."), ("backbone.", "classifier."), ("", "fc."), ("backbone.", "fc.")],
)
def test_a_backbone_and_its_head(names: str, head: str) -> None:
    state = {
        f"{head}{name.removeprefix('fc.')}" if name.startswith("fc.") else f"{names}{name}": tensor
        for name, tensor in resnet(3).state_dict().items()
    }
    external = recognise(Path("file.pth"), {"state_dict": state})
    assert external is not None
    assert (external.model, external.num_classes) == ("resnet18", 5)


@pytest.mark.parametrize(
    ("name", "clip", "segments"),
    [
        ("tsn_r18_1x1x8_kinetics400.pth", (1, 1), 8),
        ("i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e.pth", (32, 2), 1),
        ("TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment16_e50.pth", (16, 0), 1),
        ("tsm_imagenet-pretrained-r50_8xb16-dense-1x1x8-50e.pth", (8, 8), 1),
        ("weights.pth\ndict(type='SampleFrames', clip_len=32, frame_interval=3, num_clips=1)",
         (32, 3), 1),
    ],
)  # fmt: skip
def test_clips_stand_in_names_and_configurations(
    name: str, clip: tuple[int, int], segments: int
) -> None:
    sampling = sampling_of(name)
    assert sampling is not None
    if clip[0] == 1:
        assert (sampling.length, sampling.segments) == (1, segments)
    elif "TSM" in name or "tsm" in name:
        assert (sampling.segments, 64 // sampling.segments * sampling.dense) == clip
    else:
        assert (sampling.length, sampling.interval, sampling.segments) == (*clip, segments)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('executed', 'w').close()",))


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"state_dict": {"conv1.weight": Hostile()}}, "cannot be read safely"),
        ([1, 2], "holds a list, not a state dict"),
        ({"state_dict": {"a": 1}}, "expected a state dict, or a dict with"),
        ({"stem.conv.weight": torch.zeros(64, 3, 7, 7)}, "not known"),
        ({"conv1_custom.weight": torch.zeros(64, 20, 7, 7)}, "a layout that is not known"),
        ({"conv1.0.weight": torch.zeros(32, 3, 3, 3)}, "not known.*--model timm:NAME"),
        ({"base_model.layer2.0.block.conv1.net.weight": torch.zeros(1)}, "TSM with non-local"),
        ({"backbone.layer2.0.block.conv1.conv.weight": torch.zeros(1)}, "TSM with non-local"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(checkpoint, "file.pth")
    with pytest.raises(InputError, match=f"file.pth: .*{message}"):
        read_external(Path("file.pth"))
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("channels", "names", "message"),
    [(15, tsn, "sees 15 channels"), (22, two_stream, "sees 22 channels"),
     (20, lambda network: network.state_dict(), "does not tell how its input was scaled")],
)  # fmt: skip
def test_other_inputs_are_refused(tmp_path: Path, channels: int, names: Any, message: str) -> None:
    torch.save(names(resnet(channels)), tmp_path / "file.pth")
    with pytest.raises(InputError, match=message):
        read_external(tmp_path / "file.pth")


def test_another_number_of_classes(tmp_path: Path) -> None:
    torch.save(two_stream(resnet(3)), tmp_path / "file.pth")
    with pytest.raises(InputError, match="file.pth tells 5 classes apart, and 2 are named"):
        open_weights(str(tmp_path / "file.pth"), class_names=("a", "b"))


def test_the_data_set_of_a_project_names_classes_where_it_has_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(two_stream(resnet(3)), "file.pth")
    Path("lists").mkdir()
    Path("lists/classInd.txt").write_text("1 A\n2 B\n")
    for subset in ("train", "test"):
        Path(f"lists/{subset}list01.txt").write_text(f"A/{subset}_g01_c01.avi 1\n")
    lists = {"--dataset": "ucf101", "--annotations": "lists"}
    Path("twostream.toml").write_text('dataset = "ucf101"\nannotations = "lists"\n')
    result = CliRunner().invoke(cli, ["import-weights", "file.pth", "--out", "run"])
    assert result.exit_code == 0, result.output
    assert read_spec(Path("run/best")).class_names == tuple("01234")
    typed = [text for pair in lists.items() for text in pair]
    result = CliRunner().invoke(cli, ["import-weights", "file.pth", "--out", "other", *typed])
    assert "tells 5 classes apart, and 2 are named" in result.output


@pytest.mark.parametrize(("epoch", "expected"), [(7, 7), (np.int64(7), 7), ("seven", -1)])
def test_the_epoch_is_a_number_or_unknown(tmp_path: Path, epoch: Any, expected: int) -> None:
    torch.save({"epoch": epoch, "state_dict": two_stream(resnet(3))}, tmp_path / "file.pth")
    assert read_external(tmp_path / "file.pth").epoch == expected


def test_the_split_on_which_a_network_was_trained_is_kept(tmp_path: Path) -> None:
    records = [VideoRecord(f"A/v{number}", number % 5, f"g{number}") for number in range(4)]
    split = Split(CLASSES, tuple(records[:3]), tuple(records[3:]))
    torch.save({"state_dict": tsn(resnet(3))}, tmp_path / "tsn.pth.tar")
    external = open_weights(str(tmp_path / "tsn.pth.tar"), class_names=CLASSES)
    write_imported(tmp_path / "run" / "best", external, trained_on=split, lists=("ucf101", 1))
    card, recorded = read_training_videos(tmp_path / "run" / "best")
    assert [(v.name, v.part) for v in recorded] == [
        ("A/v0", "train"), ("A/v1", "train"), ("A/v2", "train"), ("A/v3", "test"),
    ]  # fmt: skip
    seen = find_seen([("a/V1", ""), ("A/v3", ""), ("A/v9", "")], card=card)
    assert (seen.trained, seen.selecting) == (["a/V1"], ["A/v3"])


def test_an_import_never_takes_the_place_of_a_run(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save(resnet(3).state_dict(), file)
    command = ["import-weights", str(file), "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(cli, command).exit_code == 0
    before = (tmp_path / "run" / "best" / "weights.safetensors").read_bytes()
    again = CliRunner().invoke(cli, command)
    assert again.exit_code == 2
    assert f"{tmp_path / 'run'} (best/): a run is there already; give another --out" in again.output
    assert (tmp_path / "run" / "best" / "weights.safetensors").read_bytes() == before
    alone = CliRunner().invoke(cli, [*command[:-1], str(tmp_path / "b"), "--trained-on-split", "1"])
    assert "--trained-on-split needs --dataset and --annotations" in alone.output


def test_hostile_shapes_and_dicts_that_hold_themselves_end_in_one_line(tmp_path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["model"] = circle
    names = ("conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight")
    flat = {name: torch.zeros(3) for name in names}
    for content in (circle, flat):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(InputError, match=r"w\.pth: "):
            open_weights(str(tmp_path / "w.pth"))
