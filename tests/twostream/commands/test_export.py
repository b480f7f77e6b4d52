"""A trained network leaves as a file; the example of the documents runs it on a video."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from flow_extract.store.header import recorded_settings
from flow_extract.store.reader import entry_path, read_header
from twostream.cli import cli
from twostream.data.dataset import ViewWriter
from twostream.data.protocols import Protocol, centre_of_segments, whole_frame
from twostream.data.splits import VideoRecord
from twostream.data.stored import StoredVideo
from twostream.export import export_run
from twostream.models.checkpoint import (
    NetworkSpec,
    load_network,
    network_from_spec,
    save_checkpoint,
)
from twostream_base.plugins import TrustedName

from ..conftest import CLASSES, ROOT, MiniProject
from ..models.test_two_streams import stages

Command = Callable[..., Result]

EXTRACTION = ["--method", "farneback", "--method-option", "winsize=9", "--bound", "6",
              "--short-side", "64", "--codec", "raw"]  # fmt: skip
VIDEO = f"{CLASSES[1]}/v_{CLASSES[1]}_g01_c01"


@pytest.fixture(scope="module")
def store(mini: MiniProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("export") / "store"
    videos = ["--videos", str(mini.root / "videos"), "--store", str(store)]
    done = CliRunner().invoke(cli, ["extract-flow", *videos, *EXTRACTION])
    assert done.exit_code == 0, done.output
    return store


def make_run(folder: Path, store: Path, model: str) -> Path:
    """The run of a motion network that was never trained."""
    settings = recorded_settings(read_header(entry_path(store, VIDEO)))
    spec = NetworkSpec(
        model=model, model_options={}, stream="motion", clip_length=10, frame_interval=1,
        resize=(), class_names=CLASSES, num_segments=1, consensus="mean", consensus_options={},
        input_size=32, epoch=0, selected_on="val", extraction=settings,
        flow={"method": settings["method"], **settings["quantiser"]},
    )  # fmt: skip
    torch.manual_seed(0)
    for checkpoint in ("best", "last"):
        save_checkpoint(folder / "run" / checkpoint, network_from_spec(spec), spec, {})
    return folder / "run"


def middle_of_the_video(store: Path, run: Path) -> np.ndarray:
    """Its clip (1, 1, T, C, 32, 32), by the same functions as scoring."""
    spec, _ = load_network(run / "best")
    video = StoredVideo(VideoRecord(VIDEO, 0, ""), entry_path(store, VIDEO), 23)
    middle = Protocol("middle", 1, centre_of_segments, whole_frame, "")
    out = np.empty((1, spec.clip_length, 2, 32, 32), np.uint8)
    ViewWriter([video], spec.modality, middle).write((0, 0), out)
    return out[None]


def test_the_example_of_the_documents(
    twostream: Command, store: Path, mini: MiniProject, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = make_run(tmp_path, store, "resnet18")
    shown = twostream("export", run, "--out", "motion.onnx").stdout.splitlines()
    size = Path("motion.onnx").stat().st_size
    assert shown[0] == (
        f"motion.onnx: {size / 1e6:,.1f} MB; clips uint8 (videos, segments, 10, 2, 32, 32) to "
        "logits of 2 classes"
    )
    assert shown[1].startswith("equal to the network on 1x2x10x2x32x32 and 3x1x10x2x32x32: largest")
    shutil.copy(mini.root / "videos" / f"{VIDEO}.avi", "clip.mp4")
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.DOTALL)
    (code,) = [example for example in examples if "onnxruntime" in example]
    scope: dict[str, Any] = {}
    exec(code, scope)
    expected = middle_of_the_video(store, run)
    # OpenCV scales two planes at once and one by one, as we do, to values that round otherwise.
    assert np.abs(scope["clips"].astype(int) - expected).max() <= 1
    _, network = load_network(run / "best")
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(scope["clips"])).mean(dim=1).numpy()
    assert np.allclose(scope["logits"], logits, atol=1e-4)
    assert capsys.readouterr().out.strip() == CLASSES[logits[0].argmax()]


def test_the_other_example_and_the_result_for_programs(
    twostream: Command, store: Path, tiny: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path, store, tiny)
    arguments = ["export", run, "--out", "spatial.pt2", "--checkpoint", "last", "--json"]
    result = json.loads(twostream(*arguments).stdout)
    assert result["file"] == "spatial.pt2"
    assert result["largest_difference"] <= 1e-4 * max(1, result["largest_logit"])
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.DOTALL)
    (code,) = [example for example in examples if "torch.export" in example]
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert scope["card"] == result["metadata"]
    assert scope["card"]["class_names"] == list(CLASSES)
    clips = torch.full((2, 1, 10, 2, 32, 32), 128, dtype=torch.uint8)
    assert scope["network"](clips).shape == (2, 1, 2)


def test_a_joint_network(tmp_path: Path) -> None:
    options = {"fuse_at": "layer3", "fuse": "conv"}
    spec = NetworkSpec(
        model=TrustedName(f"{stages.__module__}:stages"), model_options=options, stream="joint",
        clip_length=2, frame_interval=1, stack=2, resize=(), class_names=("a", "b"),
        num_segments=1, consensus="mean", consensus_options={}, input_size=32, epoch=0,
        selected_on="val", flow={},
    )  # fmt: skip
    save_checkpoint(tmp_path / "best", network_from_spec(spec), spec, {})
    result = export_run.export_run(tmp_path, tmp_path / "joint.pt2", trust_plugins=True)
    assert result["metadata"]["input"]["channels"] == ["red", "green", "blue", *2 * ["u", "v"]]
    assert result["checked"] == [[1, 2, 1, 7, 32, 32], [3, 1, 1, 7, 32, 32]]


def test_wrong_use_and_a_file_that_differs(
    twostream: Command, store: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, store, tiny)
    wrong = twostream("export", run, "--out", "x.pth", exit_code=2)
    assert "x.pth: networks are exported to .onnx or .pt2 files" in wrong.output
    none = twostream("export", run.parent, "--out", "x.pt2", exit_code=2)
    assert "weights.safetensors" in none.output
    assert "No such file" in none.output
    monkeypatch.setattr(export_run, "TOLERANCE", -1.0)
    unequal = twostream("export", run, "--out", "x.pt2", exit_code=1)
    assert "x.pt2: the file gives other logits than the network, by up to" in unequal.output
    assert [path.name for path in Path().iterdir()] == ["run"]
