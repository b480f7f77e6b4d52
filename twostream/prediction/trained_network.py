"""A trained network for Python: class probabilities, logits and features of a video."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow_extract.store.codecs import quantize
from fusion.combining.probabilities import as_probs
from twostream.compute.device import Runtime, find_precision
from twostream.data.dataset import read_views, views_of_entry
from twostream.data.protocols import Protocol
from twostream.data.stored import StoredVideo
from twostream.models.external_networks import ExternalNetwork, open_weights
from twostream.prediction.networks import Stream, load_stream
from twostream_base.errors import InputError

VIEWS_PER_FORWARD = 32  # that enter the network together


def load(
    run: str | os.PathLike[str],
    *,
    checkpoint: str = "best",
    protocol: str | Protocol = "clips19",
    class_names: Sequence[str] | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    trust_plugins: bool = False,
) -> TrainedNetwork:
    """Load a trained network: of a run folder, of another tool's file, or a published one.

        load("runs/ucf101-split1/motion-resnet18")
        load("tsm.pth", class_names=names)
        load("tsm-r50-1x1x8-k400")                # `twostream weights` lists the names

    Frames and flow are made as for the training of a run. Networks of other tools get TV-L1 and
    frames of a short side of 256, as `predict --weights` does.

    Args:
        run: folder of `twostream train` or `import-weights`; a checkpoint that `--weights` takes;
            or the name of a published one, which is fetched if need be.
        checkpoint: `best` or `last`.
        class_names: position = label; for networks of other tools, which have none.
        protocol: how a video is looked at, such as `segments:8`, or a Protocol.
        device: `auto` takes a GPU where there is one.
        precision: `fp32`, `bf16`, or `auto`: bf16 where the device computes it in hardware.
        trust_plugins: whether a `module:function` that the run names may be imported.

    Raises:
        InputError: there is no such network, it is damaged, or it needs a plug-in that is not
            trusted; or names for the classes of a run.
    """
    if device == "auto":
        mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    device, path = torch.device(device), Path(run)
    source: Path | ExternalNetwork = path
    if path.is_file() or (isinstance(run, str) and not path.exists() and path.name == run):
        source = open_weights(os.fspath(run), class_names=class_names)
    elif class_names is not None:
        raise InputError(f"{run} is a run, which names its classes itself; leave class_names out")
    stream = load_stream(
        source, checkpoint=checkpoint, protocol=protocol, device=device, trust_plugins=trust_plugins
    )
    stream.network.eval()
    return TrainedNetwork(
        stream,
        Runtime(
            device,
            find_precision(precision, device),
            threads=os.cpu_count() or 1,
            views_per_forward=VIEWS_PER_FORWARD,
        ),
    )


class TrainedNetwork:
    """A trained network, and how videos are made into what it was trained on; see `load`.

        network = twostream.load("runs/ucf101-split1/motion-resnet18")
        network.predict("clip.mp4")               # {"Archery": 0.93, "Bowling": 0.04, ...}
        network(network.transform(flow)[None])    # logits (1, S, classes)

    Attributes:
        spec: what it is and how it was trained, a NetworkSpec.
        network: the torch module, a SegmentNetwork in evaluation mode.
        class_names: position = label.
        extraction: the settings by which frames and flow are made from a video.
    """

    def __init__(self, stream: Stream, runtime: Runtime) -> None:
        self.spec, self.network, self.extraction, self.protocol = stream
        self.class_names = self.spec.class_names
        self.runtime, self._stream = runtime, stream

    def __call__(self, clips: Tensor) -> Tensor:
        """Clips (N, S, T, C, H, W) uint8, as `transform` makes one, to logits (N, S, classes)."""
        with torch.inference_mode(), self.runtime.autocast():
            logits: Tensor = self.network(clips.to(self.runtime.device))
        return logits.float().cpu()

    def predict(self, video: str | os.PathLike[str]) -> dict[str, float]:
        """Probability of each class, the most probable first: the mean over the protocol's views.

        Raises:
            VideoError: the video gives no frames, or no flow.
        """
        probs = as_probs(self.logits(video).mean(axis=(0, 1), dtype=np.float64), "logits")
        order = np.argsort(-probs, kind="stable")
        return {self.class_names[index]: float(probs[index]) for index in order}

    def logits(self, video: str | os.PathLike[str]) -> NDArray[np.float32]:
        """Logits (S, R, classes) of the R crops of each snippet, as `twostream score` keeps them.

            logits = {name: network.logits("clip.mp4")[None] for name, network in networks.items()}
            fusion.fuse(logits, strategy="variance").scores        # (1, classes)

        Raises:
            VideoError: as `predict`.
        """
        with self._stored(video) as stored:
            return self._stream.logits(stored, self.runtime)[0]

    def features(self, video: str | os.PathLike[str]) -> NDArray[np.float32]:
        """What the classifier sees of each snippet, (S, D), the mean over its crops."""
        with self._stored(video) as stored:
            views = views_of_entry(
                stored, self.spec.modality, self.protocol, size=self.spec.input_size
            )
        clips = torch.from_numpy(views).flatten(0, 1)[:, None]  # (S*R, 1, T, C, side, side)
        with torch.inference_mode(), self.runtime.autocast():
            features = torch.cat(
                [
                    self.network.features(part.to(self.runtime.device))
                    for part in clips.split(self.runtime.views_per_forward)
                ]
            )
        features = features.float().reshape(*views.shape[:2], -1).mean(dim=1)
        return features.cpu().numpy()

    def transform(self, pictures: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
        """The views of frames or flow that the network takes, uint8 (S*R, T, C, side, side).

        Args:
            pictures: frames uint8 (T, H, W, 3) RGB; for a motion network flow float32 (T-1, H, W,
                2) in pixels, of frames whose short side is `extraction["short_side"]`.

        Raises:
            InputError: of another shape or type, or empty; or a joint network, which takes both.
        """
        if self.spec.modality.parts:
            raise InputError(
                "a joint network takes frames and flow of the same moments, not one array: give a "
                "video to `predict`, `logits` or `features`"
            )
        is_flow = self.spec.modality.name == "flow"
        expected = (np.float32, 2) if is_flow else (np.uint8, 3)
        if (
            pictures.ndim != 4
            or (pictures.dtype, pictures.shape[-1]) != expected
            or not len(pictures)
        ):
            raise InputError(
                f"a {self.spec.stream} network takes "
                f"{'flow float32 (T-1, H, W, 2)' if is_flow else 'frames uint8 (T, H, W, 3)'}, not "
                f"{pictures.dtype} {pictures.shape}"
            )
        if is_flow:
            pictures = quantize(pictures, bound=self.extraction["quantiser"]["bound"])
        views = read_views(
            lambda _, indices: (pictures[index] for index in indices),
            self.spec.modality,
            self.protocol,
            length=len(pictures),
            frame_size=pictures.shape[1:3],
            size=self.spec.input_size,
        )
        return torch.from_numpy(views).flatten(0, 1)

    @contextmanager
    def _stored(self, video: str | os.PathLike[str]) -> Iterator[StoredVideo]:
        """The video in a store of its own, made by the settings of the training videos."""
        import cv2

        opencv_threads = cv2.getNumThreads()
        with TemporaryDirectory(prefix="twostream-") as folder:
            try:  # extraction sets OpenCV to one thread, as it has threads of its own
                stored, _ = self._stream.extract(
                    Path(video), work_dir=Path(folder), threads=self.runtime.threads
                )
            finally:
                cv2.setNumThreads(opencv_threads)
            yield stored
