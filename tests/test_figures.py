"""The figures in the documents are what their commands give, on the published score files.

Outputs under commands are compared line by line (`...` stands for anything), tables and sentences
by the figures in them. All figures, in half an hour:

    python -m pytest tests/test_figures.py --all-figures
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fusion
from twostream.cli import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {path.name: path.read_text() for path in DOCUMENTS}
BLOCK = re.compile(r"((?:^    .*\n)+)((?:^(?!    |```).*\n)*)^```text\n((?:^(?!```).*\n)*)", re.M)

# What these outputs are of takes minutes, or the time it takes is the output.
OF_LONGER_RUNS = {
    "tutorial.md": "the tutorial itself, 10 minutes",
    "training.md": "a training of the tutorial; every network there is",
    "many-videos.md": "times of this machine, for the videos of the tutorial",
    "store.md": "the store of the tutorial",
    "report.md": "a report of trained runs",
    "projects.md": "videos of one's own, before and after",
    "experiments.md": "the videos of HMDB51",
    "joint.md": "trainings on the videos of the tutorial",
}

RESNET101 = "spatial.safetensors motion.safetensors"
SEQVLAD = {
    f"{dataset}-{split}": " ".join(f"{dataset}-{s}-{split}.safetensors" for s in ("rgb", "flow"))
    for dataset, split in (("ucf101", 1), ("ucf101", 2), ("hmdb51", 1), ("hmdb51", 2))
}
UCF101, UCF101_2, HMDB51_1, HMDB51_2 = SEQVLAD.values()


@pytest.fixture(scope="module")
def folder(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """A folder with the published scores, imported as the documents say."""
    folder = tmp_path_factory.mktemp("published")
    lists = shared_data / "official-splits"
    for source in (
        *(shared_data / "scores-resnet101-ucf101").glob("*.pickle"),
        lists / "ucfTrainTestlist",
        lists / "hmdb51",
    ):
        (folder / source.name).symlink_to(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stream in ("spatial", "motion"):
            run(
                f"scores import {stream}_video_preds.pickle --format two-stream-pickle --stream "
                f"{stream} --summed-over 19 --dataset ucf101 --annotations ucfTrainTestlist --out "
                f"{stream}.safetensors"
            )
        for key in SEQVLAD:
            dataset, split = key.split("-")
            if dataset == "ucf101" and not request.config.getoption("--all-figures"):
                continue
            files = shared_data / "scores-seqvlad" / dataset
            rows = "--sort-order --annotations ucfTrainTestlist"
            if dataset == "hmdb51":
                rows = f"--order-names {files / 'AllVideos.txt'} --annotations hmdb51"
            for stream in ("rgb", "flow"):
                run(
                    f"scores import {files}/{dataset}_{stream}_split{split}.npz --format tsn-npz "
                    f"--order {files}/test_split{split}.txt {rows} --stream {stream} --dataset "
                    f"{dataset} --split {split} --out {dataset}-{stream}-{split}.safetensors"
                )
    return folder


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in that folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")


@cache
def run(command: str) -> str:
    """What a command of twostream prints; the same command runs once."""
    result = CliRunner().invoke(cli, shlex.split(command), catch_exceptions=False)
    assert result.exit_code == 0, f"{command}: {result.output}"
    return result.output


def value(command: str) -> Any:
    """The JSON that a command prints."""
    output = run(f"{command} --json")
    return json.loads(output[output.index("{") : output.rindex("}") + 1])


def blocks() -> list[Any]:
    """Commands with the output that a document shows below them."""
    return [
        pytest.param(match[1], match[3], id=f"{name}-{number}")
        for name, text in TEXT.items()
        if name not in OF_LONGER_RUNS
        for number, match in enumerate(BLOCK.finditer(text))
    ]


@pytest.mark.parametrize(("commands", "expected"), blocks())
def test_outputs_are_those_of_the_commands(inside: None, commands: str, expected: str) -> None:
    lines = commands.replace("\\\n", " ").splitlines()
    printed = "".join(run(line.strip().removeprefix("twostream ")) for line in lines)
    pattern = "".join(
        "(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n"
        for line in expected.splitlines()
    )
    assert re.fullmatch(pattern, printed), f"expected\n{expected}\nprinted\n{printed}"


def test_every_output_is_checked_or_says_why_not() -> None:
    checked = {name for name in TEXT if name not in OF_LONGER_RUNS}
    shown = {name: text.count("\n```text\n") for name, text in TEXT.items()}
    assert {name for name, count in shown.items() if count} - checked == set(OF_LONGER_RUNS)
    assert len(blocks()) == sum(shown[name] for name in checked) >= 6


def counted(result: dict[str, Any]) -> str:
    """`3332 (88.08 %)`."""
    return f"{result['correct']} ({result['percent']:.2f} %)"


def fused(files: str, options: str = "") -> str:
    """Top-1 of a fusion."""
    return counted(value(f"fuse {files} {options}".strip())["fused"]["top1"])


def alone(files: str) -> list[str]:
    """Top-1 of each stream."""
    return [counted(row["top1"]) for row in value(f"fuse {files}")["inputs"]]


def number(text: str) -> str:
    """The count without its percentage."""
    return text.partition(" ")[0]


def tuned(files: str) -> str:
    """The row of a table: equal weights, held out, chosen on test, optimism."""
    result = value(f"tune {files} --choose crossfit")
    weights = " : ".join(f"{weight:.3f}" for weight in result["weights"].values())
    counts = [result[key]["correct"] for key in ("equal", "held_out", "picked")]
    equal, held_out, picked = counts
    return f"{equal} | {held_out} ({weights}) | {picked} | {result['optimism']:.2f} points"


def learned(files: str, options: str, *, digits: int) -> str:
    """The count of a learned fusion and the cross-entropy of its softmax."""
    out = "learned.safetensors"
    correct = value(f"fuse {files} {options} --out {out}")["fused"]["top1"]["correct"]
    table = fusion.read_scores(out)
    scores = table.scores.reshape(len(table.names), -1).astype(np.float64)
    logs = np.log(scores) if table.score_type == "probs" else scores
    logs -= np.logaddexp.reduce(logs, axis=1, keepdims=True)
    entropy = -logs[np.arange(len(logs)), table.labels].mean()
    return f"{correct} ({entropy:.{digits}f})" if digits else str(correct)


def row_of_learned(files: str, *, digits: int) -> str:
    """The row of a table: calibrated mean, class weights, stacking."""
    options = "--calibrate crossfit", "--learn class-weights --learn-on crossfit", STACKING
    return " | ".join(learned(files, option, digits=digits) for option in options)


STACKING = "--learn stacking --learn-on crossfit"


def cascade() -> str:
    """The sentence on the cascade."""
    result = value(f"tune {RESNET101} --choose crossfit --cascade 0.2")["cascade"]
    return (
        f"flow for {result['flow']['percent']:.1f} % of the videos gives "
        f"{result['top1']['correct']} right. Both streams for all videos give "
        f"{result['always']['correct']}, RGB alone {result['never']['correct']}."
    )


def optimistic_stacking() -> str:
    """The sentence on folds of single videos."""
    result = value(f"fuse {HMDB51_1} {STACKING} --groups video")["fused"]["top1"]
    return (
        f"(`--groups video`), stacking on HMDB51 split 1 seems to reach {result['correct']} of "
        f"{result['of']:,} ({result['percent']:.1f} %)"
    )


def readme_row() -> str:
    """The ResNet101 in the README's table of results."""
    spatial, motion = alone(RESNET101)
    strategies = "--strategy max", "--strategy variance --variance legacy"
    tilted = "--strategy weighted --weights spatial=2,motion=1"
    maximum, legacy = (number(fused(RESNET101, options)) for options in strategies)
    return (
        f"| {spatial} | {motion} | {fused(RESNET101)} mean, {fused(RESNET101, tilted)} 2:1, "
        f"{maximum} max, {legacy} variance legacy, **{fused(RESNET101, '--calibrate crossfit')} "
        "mean with `--calibrate crossfit`** |"
    )


def readme_row_of_hmdb51() -> str:
    """SeqVLAD in the README's table of results."""
    rgb, flow = alone(HMDB51_1)
    tilted = fused(HMDB51_1, "--strategy weighted --weights rgb=1,flow=1.5")
    return f"| {rgb} | {flow} | {fused(HMDB51_1)} mean, {tilted} 1:1.5 |"


def calibrated(files: str) -> str:
    """The row of a table: raw logits, probabilities, calibrated logits."""
    options = "", "--combine probs", "--calibrate crossfit"
    return " | ".join(fused(files, option) for option in options)


def gain(files: str) -> str:
    """The row of a table: mean of raw and of calibrated logits, and their difference."""
    compared = value(f"compare {files} --strategy mean --calibrate crossfit")
    counts = {system["name"]: system["correct"] for system in compared["systems"]}
    (pair,) = (p for p in compared["pairs"] if p["second"] == f"{p['first']}, calibrated")
    low, high = (-end for end in reversed(pair["interval"]))
    return (
        f"{counts['mean']} | {counts['mean, calibrated']} | {-pair['difference']:+.2f} "
        f"[{low:+.2f}, {high:+.2f}] | {pair['p']:.2g} |"
    )


FIGURES: dict[str, tuple[str, Callable[[], str]]] = {
    "results": ("README.md", readme_row),
    "maximum": (
        "results.md",
        lambda: (
            f"larger logits ({number(fused(RESNET101, '--strategy max'))} against "
            f"{number(alone(RESNET101)[1])})"
        ),
    ),
    "calibrated": ("fusion.md", lambda: f"ResNet101, of 3,783 | {calibrated(RESNET101)} |"),
    "best-weight": (
        "fusion.md",
        lambda: "gives {:.2f} %".format(
            value(f"tune {RESNET101} --choose test")["picked"]["percent"]
        ),
    ),
    "weights": ("fusion.md", lambda: f"ResNet101, of 3,783 | {tuned(RESNET101)} |"),
    "gain": ("fusion.md", lambda: f"split 1, ResNet101, of 3,783 | {gain(RESNET101)}"),
}
SLOW_FIGURES: dict[str, tuple[str, Callable[[], str]]] = {
    "results-hmdb51": ("README.md", readme_row_of_hmdb51),
    "calibrated-seqvlad": ("fusion.md", lambda: f"SeqVLAD, of 3,783 | {calibrated(UCF101)} |"),
    "gain-ucf101-1": ("fusion.md", lambda: f"split 1, SeqVLAD, of 3,783 | {gain(UCF101)}"),
    "gain-ucf101-2": ("fusion.md", lambda: f"split 2, SeqVLAD, of 3,734 | {gain(UCF101_2)}"),
    "gain-hmdb51-1": ("fusion.md", lambda: f"split 1, SeqVLAD, of 1,530 | {gain(HMDB51_1)}"),
    "gain-hmdb51-2": ("fusion.md", lambda: f"split 2, SeqVLAD, of 1,530 | {gain(HMDB51_2)}"),
    "weights-hmdb51-1": ("fusion.md", lambda: f"(folds of films) | {tuned(HMDB51_1)} |"),
    "weights-hmdb51-2": ("fusion.md", lambda: f"(folds of films) | {tuned(HMDB51_2)} |"),
    "cascade": ("fusion.md", cascade),
    "learned": ("fusion.md", lambda: f"of 3,783 | {row_of_learned(RESNET101, digits=3)} |"),
    "learned-seqvlad": ("fusion.md", lambda: f"of 3,783 | {row_of_learned(UCF101, digits=3)} |"),
    "learned-hmdb51-1": ("fusion.md", lambda: f"of 1,530 | {row_of_learned(HMDB51_1, digits=0)} |"),
    "learned-hmdb51-2": ("fusion.md", lambda: f"of 1,530 | {row_of_learned(HMDB51_2, digits=0)} |"),
    "stacking-by-video": ("fusion.md", optimistic_stacking),
    "stacking-by-film": (
        "fusion.md",
        lambda: f"folds of whole films it reaches {number(fused(HMDB51_1, STACKING))}.",
    ),
}


def spaced(text: str) -> str:
    """Line breaks of the document are spaces of a sentence."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", FIGURES)
def test_figures(inside: None, name: str) -> None:
    document, make = FIGURES[name]
    assert spaced(make()) in spaced(TEXT[document])


@pytest.mark.parametrize("name", SLOW_FIGURES)
def test_figures_that_take_minutes(inside: None, name: str, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--all-figures"):
        pytest.skip("takes minutes; --all-figures")
    document, make = SLOW_FIGURES[name]
    assert spaced(make()) in spaced(TEXT[document])


@pytest.mark.parametrize("document", ["README.md", "python.md"])
def test_the_example_in_python(inside: None, document: str) -> None:
    code = re.search(r"^fused = fusion.fuse\(.*?(?=^```)", TEXT[document], re.M | re.S)
    assert code
    *lines, expression, comment = code[0].strip().splitlines()
    scope: dict[str, Any] = {"fusion": fusion}
    exec("\n".join(lines), scope)
    assert comment == f"# {eval(expression, scope)}"


def test_no_row_of_published_scores_is_unchecked() -> None:
    """Rows about published score files are as many as the figures above that are rows."""
    rows = [
        line
        for name in ("README.md", "fusion.md")
        for line in TEXT[name].splitlines()
        if line.startswith(("| UCF101 split", "| HMDB51 split"))
    ]
    assert len(rows) == 2 + 2 + 5 + 3 + 4
