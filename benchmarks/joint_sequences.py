"""Toy sequences: single streams, their late fusion, and both streams in one network, by seed.

    python benchmarks/joint_sequences.py FOLDER [SEEDS]

Each stream learns for 4 epochs; the joint network begins with both and learns for 2 more. The
streams by themselves learn for 2 more as well, for a comparison at equal training; the better of
both is chosen in each seed by its test errors. Errors are of the 272 glosses of the test videos, by
a beam search of 10; p is of a sign-flip test over videos, whose errors are added over the seeds.
FOLDER keeps the videos. A minute a seed on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Adam

from twostream.sequence.batches import crop, padded_batches, read_clip, temporal_jitter
from twostream.sequence.decoding import decode
from twostream.sequence.learner import ctc_losses
from twostream.sequence.lists import build_vocabulary, glosses_to_labels, labels_to_glosses, toy
from twostream.sequence.network import PARTS, build_network
from twostream.sequence.word_error_rate import align, count_errors

STREAMS = {"spatial": slice(0, 3), "motion": slice(3, 5), "joint": slice(0, 5)}
APART, TOGETHER, AUXILIARY = 4, 2, 0.5
Scores = dict[int, np.ndarray]


def main() -> None:
    torch.set_num_threads(1)
    folder, seeds = Path(sys.argv[1]), range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    toys = Toys(folder)
    errors = [toys.errors_of(seed) for seed in seeds]
    for arm in errors[0]:
        print(f"{arm:16} {[sum(row[arm]) for row in errors]}")
    for arm in (name for name in errors[0] if name != "joint"):
        gains = np.sum([np.subtract(row[arm], row["joint"]) for row in errors], axis=0)
        flips = np.random.default_rng(0).choice([-1, 1], (100_000, len(gains))) @ gains
        p = (np.sum(abs(flips) >= abs(gains.sum())) + 1) / (len(flips) + 1)
        print(f"{arm:16} {gains.sum():+4} errors more than joint, p = {p:.5f}")


class Toys:
    """The toy sequences in memory, RGB and flow."""

    def __init__(self, folder: Path) -> None:
        self.lists = toy(folder, folder / "videos")
        self.clips = {
            part: [read_clip(record, side=36, stream="joint") for record in self.lists[part]]
            for part in ("train", "test")
        }
        self.vocabulary = build_vocabulary(self.lists["train"], None)
        self.targets = [glosses_to_labels(r.glosses, self.vocabulary) for r in self.lists["train"]]

    def errors_of(self, seed: int) -> dict[str, list[int]]:
        """Errors of each test video, by network."""
        errors, networks, scores = {}, {}, {}
        for stream in ("spatial", "motion"):
            networks[stream] = self.build(stream, seed)
            self.train(networks[stream], stream, seed=seed, epochs=range(APART))
            scores[stream] = self.scores(networks[stream], stream)
            errors[stream] = self.errors(scores[stream])
        errors["late fusion"] = self.errors(mean(*scores.values()))
        both = self.build("joint", seed)
        for stream, network in networks.items():
            for part in PARTS:
                weights = network.get_submodule(part).state_dict()
                both.get_submodule(f"{part}.{stream}").load_state_dict(weights)
        more = range(APART, APART + TOGETHER)
        self.train(both, "joint", seed=seed, epochs=more)
        errors["joint"] = self.errors(self.scores(both, "joint"))
        for stream, network in networks.items():
            self.train(network, stream, seed=seed, epochs=more)
            scores[stream] = self.scores(network, stream)
            errors[f"{stream}, longer"] = self.errors(scores[stream])
        errors["better"] = min(errors["spatial"], errors["motion"], key=sum)
        errors["better, longer"] = min(errors["spatial, longer"], errors["motion, longer"], key=sum)
        errors["late, longer"] = self.errors(mean(*scores.values()))
        return errors

    def build(self, stream: str, seed: int) -> Any:
        torch.manual_seed(seed)
        return build_network(
            stream=stream, backbone="plain width=4", temporal=["conv widths=64,64,64"],
            classes=len(self.vocabulary) + 1,
        )  # fmt: skip

    def train(self, network: Any, stream: str, *, seed: int, epochs: range) -> None:
        optimizer = Adam(network.parameters())
        for epoch in epochs:
            torch.manual_seed(seed * 1000 + epoch)
            optimizer.param_groups[0]["lr"] = 1e-3 if epoch < epochs[-1] else 5e-4
            network.train()
            for clips, lengths, indices in self.training_batches(stream, seed, epoch):
                optimizer.zero_grad()
                if stream == "joint":
                    outputs, steps = network.heads(clips, lengths)
                else:
                    output, steps = network(clips, lengths)
                    outputs = [output]
                labels = [self.targets[index] for index in indices]
                losses = [ctc_losses(output, steps, labels)[0].mean() for output in outputs]
                (losses[0] + AUXILIARY * sum(losses[1:])).backward()
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()

    def training_batches(self, stream: str, seed: int, epoch: int) -> Iterator[Any]:
        def load(index: int) -> np.ndarray:
            rng = np.random.default_rng((seed, epoch, index))
            clip = self.clips["train"][index][..., STREAMS[stream]]
            positions = temporal_jitter(len(clip), rng=rng)
            top, left = rng.integers(0, 5, size=2).tolist()
            return crop(clip, positions, size=32, top=top, left=left)

        order = np.random.default_rng((seed, epoch)).permutation(len(self.targets)).tolist()
        return padded_batches(load, order, batch_size=8, threads=1)[0]

    def scores(self, network: Any, stream: str) -> Scores:
        def load(index: int) -> np.ndarray:
            clip = self.clips["test"][index][..., STREAMS[stream]]
            return crop(clip, range(len(clip)), size=32, top=2, left=2)

        network.eval()
        scores: Scores = {}
        order = range(len(self.clips["test"]))
        for clips, lengths, indices in padded_batches(load, order, batch_size=8, threads=1)[0]:
            with torch.inference_mode():
                output, steps = network(clips, lengths)
            for index, rows, count in zip(indices, output.numpy(), steps.tolist(), strict=True):
                scores[index] = rows[:count]
        return scores

    def errors(self, scores: Scores) -> list[int]:
        counts = []
        for index, record in enumerate(self.lists["test"]):
            glosses = labels_to_glosses(decode(scores[index], beam=10), self.vocabulary)
            counts.append(count_errors(align(record.glosses, glosses)).total)
        return counts


def mean(first: Scores, second: Scores) -> Scores:
    """The mean of log-probabilities at each time step, normalised again."""
    fused = {index: (first[index] + second[index]) / 2 for index in first}
    return {i: rows - np.log(np.exp(rows).sum(1, keepdims=True)) for i, rows in fused.items()}


if __name__ == "__main__":
    main()
