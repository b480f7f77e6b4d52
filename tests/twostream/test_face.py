"""The public names of the package, on a real run and real clips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.utils.data import DataLoader

import fusion
import twostream
from flow_extract.methods import FLOW_METHODS
from flow_extract.video.decode import VideoError, read_frames
from fusion.tables.score_file import read_scores
from twostream.cli import cli
from twostream_base.errors import InputError
from twostream_base.vision import torchvision

from .conftest import CLASSES, ROOT, MiniProject

VIDEO = f"{CLASSES[1]}/v_{CLASSES[1]}_g01_c01"


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, twostream; twostream.list_models('tsm*'), twostream.__version__\n"
        "print([name for name in ('torch', 'cv2', 'numba', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def runs(mini: MiniProject, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run folder of each stream, trained for an epoch."""
    folder = tmp_path_factory.mktemp("face")
    options = ["--weights", "none", "--input-size", "32", "--batch-size", "4", "--epochs", "1"]
    options += ["--model", "shufflenet_v2_x0_5"]
    options += ["--device", "cpu", "--precision", "fp32", "--val-fraction", "0.3"]
    options += ["--protocol", "dense10x3", "--runs", str(folder)]
    for stream in ("spatial", "motion"):
        done = CliRunner().invoke(cli, ["train", "--stream", stream, *mini.arguments, *options])
        assert done.exit_code == 0, done.output
    names = ("spatial", "motion")
    return {name: folder / "ucf101-split1" / f"{name}-shufflenet_v2_x0_5" for name in names}


def load_on_cpu(run: Path) -> twostream.TrainedNetwork:
    return twostream.load(run, device="cpu", precision="fp32")


@pytest.mark.parametrize("stream", ["spatial", "motion"])
def test_a_network_sees_a_video_as_scoring_does(
    runs: dict[str, Path], mini: MiniProject, stream: str
) -> None:
    video = str(mini.root / "videos" / f"{VIDEO}.avi")
    network = twostream.load(
        str(runs[stream]), protocol="dense10x3", device="cpu", precision="fp32"
    )
    assert network.class_names == CLASSES
    table = read_scores(runs[stream] / "scores" / "test.safetensors")
    logits = network.logits(video)
    assert logits.shape == (10, 3, 2)
    np.testing.assert_allclose(logits, table.scores[table.names.index(VIDEO)], atol=1e-5)
    features = network.features(video)
    assert features.shape == (10, 1024)
    with torch.inference_mode():  # the classifier is linear: it may as well see the means
        means = network.network.classifier(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(means, logits.mean(axis=1), atol=1e-4)


def test_predict_and_fuse_are_the_command(runs: dict[str, Path], mini: MiniProject) -> None:
    video = str(mini.root / "videos" / f"{VIDEO}.avi")
    options = ["--device", "cpu", "--precision", "fp32", "--json", "--strategy", "variance"]
    folders = [text for stream, run in runs.items() for text in (f"--{stream}", str(run))]
    done = CliRunner().invoke(cli, ["predict", video, *folders, *options])
    (row,) = json.loads(done.stdout)["videos"]
    networks = {stream: load_on_cpu(run) for stream, run in runs.items()}
    for stream, network in networks.items():
        expected = {best["class"]: best["probability"] for best in row["streams"][stream]}
        probabilities = network.predict(video)
        assert list(probabilities) == list(expected)
        assert probabilities == pytest.approx(expected, abs=1e-6)
    logits = {stream: network.logits(video)[None] for stream, network in networks.items()}
    fused = fusion.fuse(logits, strategy="variance").scores[0]
    expected = {best["class"]: best["probability"] for best in row["top"]}
    assert dict(zip(CLASSES, fused, strict=True)) == pytest.approx(expected, abs=1e-5)


def test_frames_and_flow_in_memory(runs: dict[str, Path], mini: MiniProject) -> None:
    """Nearly what comes out of the store, whose pictures are JPEGs."""
    video = mini.root / "videos" / f"{VIDEO}.avi"
    frames = np.stack(list(read_frames(video)))
    for stream, pictures, channels in (
        ("spatial", frames, (1, 3)), ("motion", FLOW_METHODS["dis"]()(frames), (10, 2)),
    ):  # fmt: skip
        network = load_on_cpu(runs[stream])
        clip = network.transform(pictures)
        assert clip.shape == (19, *channels, 32, 32)
        stored = network.logits(video)[:, 0]
        assert np.abs(network(clip[None])[0].numpy() - stored).max() < 0.1 * np.abs(stored).max()
    with pytest.raises(InputError, match=r"motion network .* float32 .* uint8 \(24, 96, 96, 3\)"):
        network.transform(frames)


def test_what_is_no_video_and_no_run(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty.avi").touch()
    with pytest.raises(VideoError, match="empty"):
        load_on_cpu(runs["spatial"]).predict(tmp_path / "empty.avi")
    with pytest.raises(InputError, match=r"nowhere/best/weights.safetensors"):
        twostream.load(tmp_path / "nowhere")


def test_a_network_of_another_tool_is_loaded_from_its_file(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = torchvision.models.resnet18(num_classes=4)
    torch.save(
        {k: torch.zeros(t.shape) for k, t in network.state_dict().items()}, tmp_path / "n.pt"
    )
    loaded = twostream.load(tmp_path / "n.pt", class_names=list("abcd"), device="cpu")
    assert (loaded.spec.model, loaded.class_names) == ("resnet18", ("a", "b", "c", "d"))
    assert loaded.extraction["short_side"] == 256
    clips = torch.zeros(1, 1, 1, 3, 64, 64, dtype=torch.uint8)
    assert loaded(clips).shape == (1, 1, 4)
    with pytest.raises(InputError, match=r"tsm-r5O.*published checkpoint.*tsm-r50"):
        twostream.load("tsm-r5O-1x1x8-k400")
    with pytest.raises(InputError, match="4 classes.*2 are named"):
        twostream.load(tmp_path / "n.pt", class_names=["a", "b"])
    with pytest.raises(InputError, match="is a run"):
        twostream.load(tmp_path, class_names=["a"])


def test_a_new_network_and_a_data_set_fit_each_other(mini: MiniProject) -> None:
    split = twostream.read_split("ucf101", str(mini.root / "annotations"), split=1)
    network = twostream.create_model(
        "resnet18", num_classes=len(split.class_names), stream="motion"
    )
    training = twostream.VideoDataset(mini.root / "store", split, "motion", input_size=32)
    clips, labels = next(iter(DataLoader(training, batch_size=4, shuffle=True)))
    assert (clips.shape, labels.dtype) == ((4, 3, 10, 2, 32, 32), torch.int64)
    logits = network(clips).mean(dim=1)
    torch.nn.functional.cross_entropy(logits, labels).backward()
    assert network.backbone.conv1.weight.grad is not None


def test_networks_of_clips_and_their_options() -> None:
    network = twostream.create_model("tsm-resnet18", num_classes=3, place="in-place")
    assert (network.modality.snippet_length, network.modality.interval) == (8, 0)
    shorter = twostream.create_model("i3d-resnet18", num_classes=3, clip_length=4, consensus="topk")
    assert shorter(torch.zeros(1, 1, 4, 3, 32, 32, dtype=torch.uint8)).shape == (1, 1, 3)
    with pytest.raises(InputError, match="'resnet19'"):
        twostream.create_model("resnet19", num_classes=3)
    with pytest.raises(InputError, match=r"resnet18 has no option 'depth'"):
        twostream.create_model("resnet18", num_classes=3, depth=4)
