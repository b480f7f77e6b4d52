"""Each command of docs/experiments.md: `train` by --dry-run, the others by their options."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import Result

from twostream.cli import cli
from twostream.data.protocols import OF_THE_NETWORK, find_protocol
from twostream.data.splits import read_split
from twostream.training import plan

DOCUMENT = Path(__file__).parents[2] / "docs" / "experiments.md"
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in DOCUMENT.read_text().splitlines()
    if re.match(r"\| 00\d \|", line)
]
# Videos of the lists that the notes were made with, train and test, where they tell.
SIZES = {"ucf101": (101, 9537, 3783), "hmdb51": (51, 3570, 1530), "kinetics": (400, 800, 400),
         "something": (174, 348, 11522)}  # fmt: skip
# What the notes print, batches of an epoch in training and in validation, by row. A last batch of a
# single video joins the one before it here: 298 instead of 299.
PRINTED = {"299, 2,247": (298, 2247), "382, 2,876": (382, 2876), "143, 306": (143, 306)}
# Shapes of the input: those of the notes, videos of a batch in front.
SHAPES = {
    "UCF101 motion, ResNet18": [32, 1, 10, 2, 224, 224],
    "UCF101 spatial, ResNet18": [25, 3, 1, 3, 224, 224],
    "HMDB51 motion, ResNet101, third segment alone": [32, 1, 10, 2, 224, 224],
    "HMDB51 motion, ResNet101, three segments": [64, 3, 10, 2, 224, 224],
    "TSN 1x1x7 (GluonCV's)": [256, 7, 1, 3, 224, 224],
    "TSN 1x1x8": [256, 8, 1, 3, 224, 224],
    "TSM": [64, 1, 8, 3, 224, 224],
    "I3D 32x2x1": [64, 1, 32, 3, 224, 224],
    "2: 8 frames, base line": [36, 1, 8, 3, 224, 224],
    "4: 232*290, 28 frames, drop rate 0.75": [8, 1, 28, 3, 224, 224],
}
# Protocol, clips and views of the test videos at the end.
SCORES = {
    "UCF101 motion, ResNet18": ("clips19", 71877, 71877),
    "HMDB51 motion, ResNet18": ("clips:5", 7650, 7650),
    "TSN 1x1x8": ("segments:8", 3200, 3200),
    "TSM": ("segments:1", 400, 400),
    "TSM MobileNetV2 dense": ("dense:10,rule=temporal-shift-module", 4000, 4000),
    "I3D 32x2x1": ("dense:1", 400, 400),
    "2: 8 frames, base line": ("dense:10x3,scale=224", 115220, 345660),
}
SNIPPETS = {
    "2: 8 frames, base line": (8, 4),
    "2: 8 frames, sample rate 3": (8, 3),
    "TSM": (8, 0),
    "TSM MobileNetV2 dense": (8, 8),
    "I3D 32x2x1": (32, 2),
}


def dataset_of(note: str, row: str) -> str:
    if note in ("002", "003"):
        return "ucf101" if note == "003" or "UCF101" in row else "hmdb51"
    return {"001": "kinetics", "000": "something"}[note]


def write_lists(folder: Path, dataset: str) -> None:
    """Lists of those sizes in the form of the data set, all splits alike, classes in turn."""
    classes, *sizes = SIZES[dataset]
    names = [f"Class{number:03d}" for number in range(classes)]
    videos = {
        subset: [(names[i % classes], i // classes) for i in range(size)]
        for subset, size in zip(("train", "test"), sizes, strict=True)
    }
    folder.mkdir()
    files: dict[str, str] = {}
    if dataset == "ucf101":
        files["classInd.txt"] = "".join(f"{i} {name}\n" for i, name in enumerate(names, 1))
        for subset, group in (("train", 8), ("test", 1)):
            lines = (f"{c}/v_{c}_g{group:02d}_c{n}.avi\n" for c, n in videos[subset])
            files[f"{subset}list01.txt"] = "".join(lines)
    elif dataset == "hmdb51":
        for name in names:
            lines = [
                f"{name}_{subset}{n}.avi {mark}\n"
                for subset, mark in (("train", 1), ("test", 2))
                for c, n in videos[subset]
                if c == name
            ]
            for split in (1, 2):
                files[f"{name}_test_split{split}.txt"] = "".join(lines)
    elif dataset == "kinetics":
        for file, subset in (("train.csv", "train"), ("validate.csv", "test")):
            rows = (f"{c},{subset}{c}{n},0,10,{subset}\n" for c, n in videos[subset])
            files[file] = "label,youtube_id,time_start,time_end,split\n" + "".join(rows)
    else:
        files["labels.csv"] = "".join(f"{name}\n" for name in names)
        for file, subset in (("train.csv", "train"), ("validation.csv", "test")):
            files[file] = "".join(f"{subset}{c}{n};{c}\n" for c, n in videos[subset])
    for file, text in files.items():
        (folder / file).write_text(text)


def test_all_rows_are_there() -> None:
    notes = [note for note, *_ in ROWS]
    assert {note: notes.count(note) for note in sorted(set(notes))} == {
        "000": 23, "001": 23, "002": 20, "003": 7, "004": 12,
    }  # fmt: skip
    rows = {row for _, row, *_ in ROWS}
    assert rows >= SHAPES.keys() | SCORES.keys() | SNIPPETS.keys()


@pytest.mark.parametrize("dataset", SIZES)
def test_each_training_is_what_the_notes_say(
    dataset: str, twostream: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lists(tmp_path / "lists", dataset)
    (tmp_path / "twostream.toml").write_text(
        f'dataset = "{dataset}"\nannotations = "lists"\nstore = "store"\nruns = "runs"\n'
    )
    monkeypatch.setattr(plan, "read_split", cache(read_split))
    folders: dict[str, str] = {}
    for note, row, _, printed, command in ROWS:
        if not command.startswith("train ") or dataset_of(note, row) != dataset:
            continue
        arguments = [*shlex.split(command), "--dry-run", "--json", "--device", "cpu"]
        result = json.loads(twostream(*arguments).stdout)
        classes, train, test = SIZES[dataset]
        assert (result["classes"], result["train"]["videos"]) == (classes, train), row
        assert result["scores"]["test"]["videos"] == test
        if printed:
            batches = (result["train"]["steps"], result["validation"]["batches"])
            assert batches == PRINTED[printed], row
        if row in SHAPES:
            assert result["input_shape"] == SHAPES[row]
        if row in SCORES:
            scores = result["scores"]["test"]
            assert (scores["protocol"], scores["snippets"], scores["views"]) == SCORES[row]
        if row in SNIPPETS:
            snippet = result["snippet"]
            assert (snippet["length"], snippet["interval"]) == SNIPPETS[row]
        assert folders.setdefault(result["run"], row) == row, "two rows in one folder"
    assert len(folders) >= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lists", "twostream.toml"]


def test_the_other_commands_have_such_options() -> None:
    context = click.Context(cli)
    tried = 0
    for _, row, _, _, text in ROWS:
        name, *arguments = shlex.split(text) if not text.startswith("not run") else ("train",)
        if name == "train":
            continue
        command = cli.get_command(context, name)
        assert command is not None, row
        values, *_ = command.make_parser(click.Context(command)).parse_args(arguments)
        protocol = values.get("protocol")
        if protocol and protocol not in OF_THE_NETWORK:
            find_protocol(protocol)
        if recipe := values.get("recipe"):
            (parameter,) = [p for p in command.params if p.name == "recipe"]
            parameter.type.convert(recipe, parameter, None)
        tried += 1
    assert tried > 25
