"""Training and evaluation of the motion ResNet18, beside the way of the field.

    PYTHONPATH=. python benchmarks/training_step.py [TURNS] [--device cuda]

That way: a tree of JPEG pictures, PIL, floats, a DataLoader with two worker processes, and a
float32 network with contiguous tensors. Both learn from the same stacks and crops, from the same
weights, in turns; compared are paired ratios of wall time, and the losses. Writes
`benchmarks/results/training.md`, and fails where a figure is missed. Takes some minutes.

With `--device cuda` instead: how busy the loader keeps a training step on that GPU.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch
from classical_loader import JpegTree, Stacks
from loading import FLOW, LENGTH, SIZE, draw_items, extract, writer
from machines import write_section
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from flow_extract.store.reader import StoreEntry
from twostream.compute.device import CPU_FEATURES, Runtime, find_precision
from twostream.data.loader import load_batches
from twostream.data.protocols import PROTOCOLS
from twostream.data.stored import StoredVideo
from twostream.models import build_network
from twostream.models.consensus import CONSENSUS, mean
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.logits import compute_logits
from twostream.training.loop import accumulate_gradient
from twostream.transforms.clips import Box

RESULTS = Path(__file__).resolve().parent / "results" / "training.md"
CPU, WORKERS, CLASSES, BATCH, STACKS, TESTED = torch.device("cpu"), 2, 101, 16, 64, 3
AMX = getattr(torch.cpu, CPU_FEATURES[0], lambda: False)()
# Times as fast as the classical way; bfloat16 is promised where the CPU has AMX.
GOALS = {"fp32": (1.4, 1.4), "bf16": (3.5, 4.0)}
# How far the mean loss may be from the classical one.
NEAR = {"fp32": 0.01, "bf16": 0.05}

Row = tuple[str, float, str, bool]


def main() -> None:
    if "--device" in sys.argv:
        on_gpu(torch.device(sys.argv[sys.argv.index("--device") + 1]))
    else:
        on_cpu()


def on_cpu() -> None:
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    torch.set_num_threads(WORKERS)
    with tempfile.TemporaryDirectory() as folder:
        stores = {codec: extract(Path(folder), codec) for codec in ("jpeg", "raw")}
        tree = JpegTree.written(Path(folder, "tree"), stores["raw"])
        rows = [*training(tree, stores["jpeg"], turns), *evaluation(tree, stores["jpeg"], turns)]
    body = "\n".join([*columns(turns), *map(line, rows)])
    print(write_section(RESULTS, head=HEAD, body=body))
    if not all(holds for *_, holds in rows):
        raise SystemExit("a figure was missed")


HEAD = f"""
# Training and evaluation of the motion ResNet18, beside the way of the field

Made by `benchmarks/training_step.py`: stacks of {LENGTH} pairs, {SIZE} x {SIZE}, batch {BATCH},
2 cores; medians of paired ratios of wall time, in turns. The losses of both ways are asserted to
be near.
"""


def columns(turns: int) -> Iterable[str]:
    bf16 = "AMX" if AMX else "AVX-512" if find_precision("auto", CPU) == "bf16" else "emulated"
    return (
        f"Bfloat16 by {bf16}; median of {turns}.", "",
        "| what | value | wanted | holds |", "|---|---|---|---|",
    )  # fmt: skip


def line(row: Row) -> str:
    name, value, wanted, holds = row
    verdict = ("yes" if holds else "NO") if wanted else ""
    return f"| {name} | {value:.2f} | {wanted} | {verdict} |"


def training(tree: JpegTree, videos: list[StoredVideo], turns: int) -> Iterator[Row]:
    items = draw_items(videos, STACKS)
    ways = {precision: partial(train, videos, items, precision) for precision in GOALS}
    ratios, speeds = compare(partial(train_classically, tree, items), ways, turns)
    for precision, ratio in ratios.items():
        yield row(f"training with its loader, {precision}", ratio, precision, GOALS[precision][0])
    for way, seconds in speeds.items():
        yield f"stacks/s, training, {way}", STACKS / seconds, "", True


def evaluation(tree: JpegTree, videos: list[StoredVideo], turns: int) -> Iterator[Row]:
    tested = videos[:TESTED]
    ways = {precision: partial(evaluate, tested, precision) for precision in GOALS}
    ratios, speeds = compare(partial(evaluate_classically, tree, tested), ways, turns)
    for precision, ratio in ratios.items():
        yield row(f"evaluation, clips19, {precision}", ratio, precision, GOALS[precision][1])
    for way, seconds in speeds.items():
        yield f"stacks/s, evaluation, {way}", 19 * TESTED / seconds, "", True


def compare(
    classical: Callable[[], float], ways: dict[str, Callable[[], float]], turns: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Ratios of each way, and median seconds of all; each returns its loss, which must be near."""
    seconds: dict[str, list[float]] = {name: [] for name in ("classical", *ways)}
    for turn in range(turns + 1):
        losses = {}
        for name, work in {"classical": classical, **ways}.items():
            start = time.perf_counter()
            losses[name] = work()
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
        for name in ways:
            difference = abs(losses[name] - losses["classical"])
            assert difference <= NEAR[name], f"{name}: the losses are {losses}"
    pairs = {name: zip(seconds["classical"], seconds[name], strict=True) for name in ways}
    ratios = {name: median(theirs / own for theirs, own in pairs[name]) for name in ways}
    return ratios, {name: median(taken) for name, taken in seconds.items()}


def row(name: str, ratio: float, precision: str, goal: float) -> Row:
    promised = precision == "fp32" or AMX
    return name, ratio, f">= {goal:g}x" if promised else "", ratio >= goal or not promised


def network() -> SegmentNetwork:
    torch.manual_seed(0)
    return build_network(
        "resnet18", consensus=CONSENSUS["mean"], modality=FLOW, num_classes=CLASSES
    )


def labels(items: list) -> Tensor:
    return torch.tensor([video for video, *_ in items])


def loaded(videos: list[StoredVideo], items: list, *, batch: int, threads: int, device=CPU):
    """Batches of clips (N, 1, T, C, H, W), and the numbers of their items."""
    write = writer(videos, items, FLOW)
    numbers = list(range(len(items)))
    batches = [numbers[i : i + batch] for i in range(0, len(items), batch)]
    shape = (1, LENGTH, FLOW.channels, SIZE, SIZE)
    return load_batches(
        lambda number, out: write(number, out[0]),
        batches, shape=shape, threads=threads, device=device,
    )  # fmt: skip


def train(videos: list[StoredVideo], items: list, precision: str) -> float:
    """Mean loss of an epoch in our way."""
    step, total = training_step(CPU, precision), 0.0
    for clips, numbers in loaded(videos, items, batch=BATCH, threads=WORKERS):
        total += step(clips, labels([items[number] for number in numbers]))
    return total / len(items)


def training_step(device: torch.device, precision: str) -> Callable[[Tensor, Tensor], float]:
    learner = network().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(learner.parameters(), lr=1e-3, momentum=0.9)

    def step(clips: Tensor, target: Tensor) -> float:
        losses, _ = accumulate_gradient(
            learner, clips, target, consensus=mean, device=device, precision=precision
        )
        optimizer.step()
        return losses.sum().item()

    return step


def train_classically(tree: JpegTree, items: list) -> float:
    learner, total = network(), 0.0
    layers = nn.Sequential(learner.backbone, learner.classifier)
    optimizer = torch.optim.SGD(layers.parameters(), lr=1e-3, momentum=0.9)
    targets = labels(items).split(BATCH)
    for floats, target in zip(batches_of_floats(Stacks(tree, items)), targets, strict=True):
        loss = F.cross_entropy(layers(normalised(floats, learner)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(target)
    return total / len(items)


def batches_of_floats(stacks: Stacks) -> DataLoader[Tensor]:
    return DataLoader(stacks, batch_size=BATCH, num_workers=WORKERS)


def normalised(floats: Tensor, learner: SegmentNetwork) -> Tensor:
    """From 0 to 1, as ToTensor gives it, to what the network learns from."""
    return floats.sub_(learner.mean / 255).div_(learner.std / 255)


def evaluate(videos: list[StoredVideo], precision: str) -> float:
    """Mean loss of all stacks in our way."""
    judge = judged().to(memory_format=torch.channels_last)
    logits = compute_logits(
        judge,
        videos,
        Runtime(CPU, precision, threads=WORKERS, views_per_forward=BATCH),
        protocol=PROTOCOLS["clips19"],
        modality=FLOW,
        size=SIZE,
    )
    return loss_of(torch.from_numpy(logits).flatten(0, 2))


def evaluate_classically(tree: JpegTree, videos: list[StoredVideo]) -> float:
    """The stacks of `clips19`, whole frames scaled by PIL."""
    items = [
        (number, start, Box(0, 0, *StoreEntry(video.path).size))
        for number, video in enumerate(videos)
        for start in PROTOCOLS["clips19"].starts(video.length - LENGTH + 1, 19)
    ]
    judge = judged()
    with torch.inference_mode():
        floats = batches_of_floats(Stacks(tree, items, size=SIZE))
        parts = [judge.backbone(normalised(part, judge)) for part in floats]
        return loss_of(judge.classifier(torch.cat(parts)))


def judged() -> SegmentNetwork:
    return network().eval()


def loss_of(logits: Tensor) -> float:
    """Of the stacks, 19 a video."""
    target = torch.arange(TESTED).repeat_interleave(len(logits) // TESTED)
    return F.cross_entropy(logits, target).item()


def on_gpu(device: torch.device, *, batch: int = 64, stacks: int = 4096) -> None:
    """Print stacks a second of the step alone, and of the step with its loader."""
    if not torch.cuda.is_available():
        print("no GPU that torch can use: nothing is measured")
        return
    step, threads = training_step(device, "bf16"), os.cpu_count() or 1
    target = torch.zeros(batch, dtype=torch.int64)
    resident = torch.zeros((batch, 1, LENGTH, 2, SIZE, SIZE), dtype=torch.uint8, device=device)
    with tempfile.TemporaryDirectory() as folder:
        videos = extract(Path(folder), "jpeg")
        items = draw_items(videos, stacks)

        def epoch() -> None:
            for clips, _ in loaded(videos, items, batch=batch, threads=threads, device=device):
                step(clips, target)

        both = rate(epoch, stacks)
    alone = rate(lambda: [step(resident, target) for _ in range(stacks // batch)], stacks)
    print(f"motion ResNet18, bf16, batch {batch}, {threads} loader threads: {alone:,.0f} stacks/s")
    print(f"of the step alone, {both:,.0f} with the loader: busy {100 * both / alone:.0f} %")


def rate(work: Callable[[], object], count: int) -> float:
    """Things a second, at the second try."""
    work()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
