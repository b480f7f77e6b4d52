from __future__ import annotations

import json
from pathlib import Path

import pytest

from twostream.data.records import VideoRecord
from twostream.data.splits import DATASETS, read_split
from twostream_base.errors import InputError

KINETICS = {
    "train.csv": "label,youtube_id,time_start,time_end,split\n"
    "riding a bike,-abc,12,22,train\nabseiling,xyz,7.0,17.0,train\n",
    "validate.csv": "label,youtube_id,time_start,time_end,split\nabseiling,uvw,100,110,validate\n",
}
SOMETHING = {
    "something-something-v2-labels.json": json.dumps({"Holding something": "1", "Dropping": "0"}),
    "something-something-v2-train.json": json.dumps(
        [{"id": "78687", "label": "holding it", "template": "Holding [something]"},
         {"id": "42", "template": "Dropping"}]
    ),
    "something-something-v2-validation.json": json.dumps([{"id": "7", "template": "Dropping"}]),
}  # fmt: skip
JESTER = {
    "jester-v1-labels.csv": "Swiping Left\nNo gesture\n",
    "jester-v1-train.csv": "34870;No gesture\n56557;Swiping Left\n",
    "jester-v1-validation.csv": "9223;No gesture\n",
}
PATHS = {
    "train.txt": "run/a b.avi 120 0\nwalk/c 1\n",
    "val.txt": "run/d.avi 0\n",
    "classes.txt": "run\nwalk\n",
}
EXPECTED = {
    "kinetics": (
        KINETICS, ("abseiling", "riding a bike"),
        [VideoRecord("riding a bike/-abc_000012_000022", 1, "-abc"),
         VideoRecord("abseiling/xyz_000007_000017", 0, "xyz"),
         VideoRecord("abseiling/uvw_000100_000110", 0, "uvw")],
    ),
    "something": (
        SOMETHING, ("Dropping", "Holding something"),
        [VideoRecord("78687", 1, "78687"), VideoRecord("42", 0, "42"), VideoRecord("7", 0, "7")],
    ),
    "jester": (
        JESTER, ("Swiping Left", "No gesture"),
        [VideoRecord("34870", 1, "34870"), VideoRecord("56557", 0, "56557"),
         VideoRecord("9223", 1, "9223")],
    ),
    "path-lists": (
        PATHS, ("run", "walk"),
        [VideoRecord("run/a b", 0, "run/a b"), VideoRecord("walk/c", 1, "walk/c"),
         VideoRecord("run/d", 0, "run/d")],
    ),
}  # fmt: skip


def write(folder: Path, files: dict[str, str], *, crlf: bool = False) -> Path:
    for name, text in files.items():
        text = "\ufeff" + text.replace("\n", "\r\n") if crlf else text
        (folder / name).write_bytes(text.encode())
    return folder


@pytest.mark.parametrize("crlf", [False, True])
@pytest.mark.parametrize("dataset", EXPECTED)
def test_records(tmp_path: Path, dataset: str, crlf: bool) -> None:
    files, class_names, records = EXPECTED[dataset]
    lists = read_split(DATASETS[dataset], write(tmp_path, files, crlf=crlf), split=1)
    assert lists.class_names == class_names
    assert [*lists.train, *lists.test] == records
    assert len(lists.train) == 2


@pytest.mark.parametrize("dataset", EXPECTED)
def test_there_is_one_split(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(InputError, match="split 2: .* has one split; give --split 1"):
        read_split(DATASETS[dataset], tmp_path, split=2)


MISTAKES = [
    ("kinetics", "train.csv", "label,time_start\n", r"train.csv:1: no column 'youtube_id'"),
    ("kinetics", "train.csv", KINETICS["train.csv"] + "x,,1,2,train\n", r"train.csv:4: .*empty"),
    ("kinetics", "train.csv", KINETICS["train.csv"] + "x,y,?,2,train\n", r":4: '\?' is not a time"),
    ("kinetics", "validate.csv", KINETICS["train.csv"], r"validate.csv:2: .*listed already"),
    ("something", "something-something-v2-train.json", '[{"id": "1", "template": "Flying"}]',
     r"train.json, video 1: 'Flying' is none of the 2 classes"),
    ("something", "something-something-v2-train.json", '[{"id"', r"train.json:1: not valid JSON"),
    ("something", "something-something-v2-train.json", "{}", "expected a JSON list"),
    ("something", "other-labels.json", "{}", r"one file \*labels.json is expected"),
    ("jester", "jester-v1-train.csv", "34870,No gesture\n", r"train.csv:1: .*expected: id;label"),
    ("jester", "jester-v1-train.csv", "1;Waving\n", r"train.csv:1: 'Waving' is none of the 2"),
    ("jester", "jester-v1-labels.csv", "No gesture\nNo gesture\n", r"labels.csv:2: .* twice"),
    ("path-lists", "train.txt", "a\n", r"train.txt:1: 'a'; expected: path"),
    ("path-lists", "train.txt", "run/a.avi 2\n", r"train.txt:1: label 2; .*has 2 classes"),
    ("path-lists", "val.txt", "../up.avi 0\n", r"val.txt:1: .*leads out"),
    ("path-lists", "val.txt", "walk/c 1\n", r"val.txt:1: walk/c is listed already"),
]  # fmt: skip


@pytest.mark.parametrize(("dataset", "file", "text", "message"), MISTAKES)
def test_mistakes(tmp_path: Path, dataset: str, file: str, text: str, message: str) -> None:
    write(tmp_path, {**EXPECTED[dataset][0], file: text})
    with pytest.raises(InputError, match=message):
        read_split(DATASETS[dataset], tmp_path, split=1)


def test_path_lists_counted_from_1_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, {"train.txt": "a 1\nb 2\n", "test.txt": "c 1\n"})
    with pytest.raises(
        InputError, match="no video has label 0; labels in these lists count from 0"
    ):
        read_split(DATASETS["path-lists"], tmp_path, split=1)


def test_path_lists_without_class_names(tmp_path: Path) -> None:
    write(tmp_path, {"train.txt": "a 0\nb 3\n", "test.txt": "c 1\n"})
    assert read_split(DATASETS["path-lists"], tmp_path, split=1).class_names == ("0", "1", "2", "3")
