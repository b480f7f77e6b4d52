from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twostream.data.splits import (
    DATASETS,
    VideoRecord,
    known_groups,
    read_hmdb51,
    read_split,
    read_ucf101,
    video_name,
)
from twostream_base.errors import InputError
from twostream_base.video_names import without_suffix

OFFICIAL = {
    "ucf101": ("ucfTrainTestlist", 101, {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}),
    "hmdb51": ("hmdb51", 51, dict.fromkeys((1, 2, 3), (3570, 1530))),
}


@pytest.mark.parametrize("dataset", OFFICIAL)
@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_lists(shared_data: Path, dataset: str, split: int) -> None:
    folder, classes, counts = OFFICIAL[dataset]
    lists = read_split(DATASETS[dataset], shared_data / "official-splits" / folder, split=split)
    assert len(lists.class_names) == classes
    assert (len(lists.train), len(lists.test)) == counts[split]
    assert {record.label for record in lists.train} == set(range(classes))
    field = shared_data / "official-splits" / "label_maps" / f"{dataset}_label_map.txt"
    assert list(lists.class_names) == field.read_text().splitlines()
    assert all(
        record.name.split("/")[0] == lists.class_names[record.label] for record in lists.test
    )


def test_ucf101_groups_never_stand_on_both_sides(shared_data: Path) -> None:
    lists = read_ucf101(shared_data / "official-splits" / "ucfTrainTestlist", split=1)
    groups = [{record.group for record in subset} for subset in (lists.train, lists.test)]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 101 * 25


UCF101 = {
    "classInd.txt": "1 Archery\n2 HandstandPushups\n",
    "trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\n"
    "HandstandPushups/v_HandStandPushups_g09_c02.avi 2\n",
    "testlist01.txt": "Archery/v_Archery_g01_c01.avi\n\n",
}


def test_ucf101_records(tmp_path: Path) -> None:
    lists = read_ucf101(write(tmp_path, UCF101), split=1)
    assert lists.class_names == ("Archery", "HandstandPushups")
    (first, second), (test,) = lists.train, lists.test
    assert (first.name, first.label, first.group) == (
        "Archery/v_Archery_g08_c01", 0, "archery_g08",
    )  # fmt: skip
    assert (second.name, second.label) == ("HandstandPushups/v_HandStandPushups_g09_c02", 1)
    assert test.label == 0


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    files = {name: "\ufeff" + text.replace("\n", "\r\n") for name, text in UCF101.items()}
    assert read_ucf101(write(tmp_path, files), split=1) == read_ucf101(
        write(tmp_path, UCF101), split=1
    )


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("trainlist01.txt", "Archery/a.avi 2\n", r"trainlist01.txt:1: class number 2"),
        ("trainlist01.txt", "Archery/a.avi 1\nDiving/b.avi 1\n", r"trainlist01.txt:2: .*not below"),
        ("trainlist01.txt", "a.avi 1\n", r"trainlist01.txt:1: 'a.avi' is not below a class"),
        ("trainlist01.txt", "Archery/../../x.avi 1\n", r"trainlist01.txt:1: .*leads out"),
        ("trainlist01.txt", "Archery/a.avi 1\nArchery/a.avi 1\n", r":2: .*listed already, at .*:1"),
        ("trainlist01.txt", "", "the train list is empty"),
        ("testlist01.txt", "Archery/v_Archery_g08_c01.avi\n", "testlist01.txt:1: .*already, at .*"),
        ("classInd.txt", "1 Archery\n3 Diving\n", r"classInd.txt:2: class number 3; expected 2"),
        ("classInd.txt", "0 Archery\n1 Diving\n", r"classInd.txt:1: class number 0; expected 1"),
        ("classInd.txt", "1 Archery\n2 Archery\n", r"classInd.txt:2: the class 'Archery' stands"),
        ("classInd.txt", "Archery\n", r"classInd.txt:1: 'Archery'; expected: number"),
    ],
)
def test_malformed_lists_end_with_file_and_line(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_ucf101(write(tmp_path, {**UCF101, file: text}), split=1)


def test_wrong_split_folder_and_missing_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no split 4; allowed: 1, 2, 3"):
        read_split(read_ucf101, tmp_path, split=4)
    with pytest.raises(InputError, match="no such folder"):
        read_split(read_ucf101, tmp_path / "x", split=1)
    with pytest.raises(InputError, match=r"classInd.txt: no such list file"):
        read_split(read_ucf101, tmp_path, split=1)
    with pytest.raises(InputError, match=r"no file \*_test_split1.txt"):
        read_split(read_hmdb51, tmp_path, split=1)


HMDB51 = {
    "clap_test_split1.txt": "A#1_clap_u_nm_0.avi 1 \nA#1_clap_u_nm_1.avi 0 \n"
    "B_clap_u_nm_0.avi 2 \n",
    "wave_test_split1.txt": "C[x]_wave_u_nm_0.avi 1 \n",
}


def test_hmdb51_marks_and_films(tmp_path: Path) -> None:
    lists = read_hmdb51(write(tmp_path, HMDB51), split=1)
    assert lists.class_names == ("clap", "wave")
    assert [(r.name, r.label, r.group) for r in (*lists.train, *lists.test)] == [
        ("clap/A#1_clap_u_nm_0", 0, "A#1"),
        ("wave/C[x]_wave_u_nm_0", 1, "C[x]"),
        ("clap/B_clap_u_nm_0", 0, "B"),
    ]


def test_hmdb51_refuses_another_mark(tmp_path: Path) -> None:
    files = {**HMDB51, "wave_test_split1.txt": "a.avi 3\n"}
    with pytest.raises(InputError, match=r"wave_test_split1.txt:1: 'a.avi 3'; expected"):
        read_hmdb51(write(tmp_path, files), split=1)


def test_folder_reads_groups(tmp_path: Path) -> None:
    files = {**UCF101, "groups.csv": 'Archery/v_Archery_g08_c01,"film, part 2"\n'}
    lists = read_split("folder", write(tmp_path, files), split=1)
    assert [record.group for record in lists.train] == ["film, part 2", lists.train[1].name]


def test_a_file_of_groups_stands_above_the_rule(tmp_path: Path) -> None:
    files = {**UCF101, "groups.csv": "Archery/v_Archery_g08_c01,film\n"}
    lists = read_split("ucf101", write(tmp_path, files), split=1)
    by_rule = read_ucf101(tmp_path, split=1)
    assert lists.train[0] == replace(by_rule.train[0], group="film")
    assert (lists.train[1:], lists.test) == (by_rule.train[1:], by_rule.test)


def test_groups_that_nothing_tells(tmp_path: Path) -> None:
    records = read_split("folder", write(tmp_path, UCF101)).train
    assert known_groups(records) is None
    assert known_groups([replace(records[0], group="film"), records[1]]) == (
        "film", records[1].name,
    )  # fmt: skip


@pytest.mark.parametrize("row", ["only a name", "name,", "a,b,c"])
def test_a_broken_file_of_groups(tmp_path: Path, row: str) -> None:
    files = {**UCF101, "groups.csv": f"a/b,c\n{row}\n"}
    with pytest.raises(InputError, match=rf"groups.csv:2: '{row}'; expected name,group"):
        read_split("folder", write(tmp_path, files))


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
    "train.txt": "run/a b.avi 120 0\nwalk/c 90 1\n",
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
    "something-v1": (
        {name.replace("jester", "something-something"): text for name, text in JESTER.items()},
        ("Swiping Left", "No gesture"),
        [VideoRecord("34870", 1, "34870"), VideoRecord("56557", 0, "56557"),
         VideoRecord("9223", 1, "9223")],
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
    reader = DATASETS[dataset.removesuffix("-v1")]
    lists = read_split(reader, write(tmp_path, files, crlf=crlf), split=1)
    assert lists.class_names == class_names
    assert [*lists.train, *lists.test] == records
    assert len(lists.train) == 2


@pytest.mark.parametrize("dataset", EXPECTED)
def test_there_is_one_split(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(InputError, match="split 2: .* has one split; give --split 1"):
        read_split(DATASETS[dataset.removesuffix("-v1")], tmp_path, split=2)


MISTAKES = [
    ("kinetics", "train.csv", "label,time_start\n", r"train.csv:1: no column 'youtube_id'"),
    ("kinetics", "train.csv", KINETICS["train.csv"] + "x,,1,2,train\n", r"train.csv:4: .*empty"),
    ("kinetics", "train.csv", KINETICS["train.csv"] + "x,y,?,2,train\n", r":4: '\?' is not a time"),
    ("kinetics", "validate.csv", KINETICS["train.csv"], r"validate.csv:2: .*listed already"),
    ("something", "something-something-v2-train.json", '[{"id": "1", "template": "Flying"}]',
     r"train.json, video 1: 'Flying' is none of the 2 classes"),
    ("something", "something-something-v2-train.json", '[{"id"', r"train.json:1: not valid JSON"),
    ("something", "something-something-v2-train.json", '[{"template": "Dropping"}]',
     r"train.json, video 1: .*no video"),
    ("something", "something-something-v2-train.json", "{}", "expected a JSON list"),
    ("something", "other-labels.json", "{}", r"one file \*labels.json is expected"),
    ("jester", "jester-v1-train.csv", "34870,No gesture\n", r"train.csv:1: .*expected: id;label"),
    ("jester", "jester-v1-train.csv", "1;Waving\n", r"train.csv:1: 'Waving' is none of the 2"),
    ("jester", "jester-v1-labels.csv", "No gesture\nNo gesture\n", r"labels.csv:2: .* twice"),
    ("path-lists", "train.txt", "a\n", r"train.txt:1: 'a'; expected: path"),
    ("path-lists", "train.txt", "a.avi;run\n",
     r"'a.avi;run'; .*tabs, commas, semicolons or blanks; the label is a number"),
    ("path-lists", "train.txt", "path;label\nrun/a.avi;0\n",
     r"txt:1: 'path;label'; .*parted by semicolons as in most rows"),
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
    with pytest.raises(InputError, match="no video has label 0, the labels are 1 to 2.*from 0"):
        read_split(DATASETS["path-lists"], tmp_path, split=1)
    write(tmp_path, {"classes.txt": "run\nwalk\n"})
    with pytest.raises(InputError, match="no video has label 0, the labels are 1 to 2.*from 0"):
        read_split(DATASETS["path-lists"], tmp_path, split=1)
    write(tmp_path, {"classes.txt": "rest\nrun\nwalk\n"})  # a part of a list: the first has none
    assert [r.label for r in read_split(DATASETS["path-lists"], tmp_path).records] == [1, 2, 1]


def test_path_lists_without_class_names(tmp_path: Path) -> None:
    write(tmp_path, {"train.txt": "a 0\nb 3\n", "test.txt": "c 1\n"})
    assert read_split(DATASETS["path-lists"], tmp_path, split=1).class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ("v0.avi 0 2\nv1.avi 1\n", r"train.txt:2: 1 number.*'v1.avi', but 2 at .*train.txt:1"),
        ("v0 12 0 2\nv1 12 1 1\n", r"train.txt:1: 3 numbers behind 'v0'.*first frame"),
        ("v0.avi 0 2\nv1.avi 1 0\n", r"train.txt:1: 0 is hardly the number of frames"),
        ("v0.avi 3 9\nv1.avi 2 0\nv2.avi 1 4\n", r"train.txt:3: 1 is hardly"),
        ("v0.avi 30 2\nv1.avi 0 0\n", r"train.txt:2: 0 is hardly the number of frames"),
        ("v0.avi 2 3\nv1.avi 3 0\n", r"train.txt:1: 2 is hardly the number of frames"),
    ],
)
def test_several_labels_a_video_are_refused(tmp_path: Path, train: str, reason: str) -> None:
    (tmp_path / "train.txt").write_text(train)
    (tmp_path / "test.txt").write_text("w.avi 0\n")
    with pytest.raises(InputError, match=reason):
        read_split("path-lists", tmp_path)


@pytest.mark.parametrize(
    ("separator", "path"),
    [
        ("\t", "take 1"), ("\t", "a, b;c.avi"), (",", "take 1"), (", ", "a; b.avi"), (";", "a, b"),
        (" ", "a,1.avi"), ("  ", '"take 1"'), (",", '"a, 3"'), (" ", '"with ""quotes"" 2"'),
    ],
)  # fmt: skip
def test_what_parts_the_columns_is_found_in_the_whole_file(
    tmp_path: Path, separator: str, path: str
) -> None:
    rows = [f"{path}{separator}40{separator}1  ", "", f"b.avi{separator}12{separator}0"]
    write(tmp_path, {"train.txt": "\n".join(rows), "test.txt": f"c{separator}0\n"}, crlf=True)
    name = without_suffix(path.strip('"').replace('""', '"'))
    split = read_split("path-lists", tmp_path)
    assert [(r.name, r.label) for r in split.records] == [(name, 1), ("b", 0), ("c", 0)]


def test_comments_are_passed_over_but_not_names_that_begin_with_their_mark(tmp_path: Path) -> None:
    text = "# path label\n#\n## of 2026\n#20_Rhythm_clap.avi 0\n"
    write(tmp_path, {"train.txt": text, "test.txt": "b 0\n"})
    assert [r.name for r in read_split("path-lists", tmp_path).train] == ["#20_Rhythm_clap"]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (("train.csv", "val.csv"), {1: "ab"}),
        (("train.csv", "val.csv", "test.csv", "train_notes.md"), {1: "abc"}),
        (("kinetics400_train_list_videos.txt", "kinetics400_val_list_videos.txt"), {1: "ab"}),
        (("train_videofolder.txt", "val_videofolder.txt", "category.txt"), {1: "ab"}),
        (("ucf101_rgb_train_split_1.txt", "ucf101_rgb_test_split_1.txt",
          "ucf101_rgb_train_split_2.txt", "ucf101_rgb_test_split_2.txt"), {1: "ab", 2: "cd"}),
        (("trainlist02.txt", "testlist02.txt", "validate.txt"), {2: "ab"}),
        (("ssv2_train.csv", "ssv2_validation.csv", "ssv2_test.csv"), {1: "abc"}),
        (("train.txt", "test.txt", "hmdb51_train_split_1_rawframes.txt",
          "hmdb51_val_split_1_rawframes.txt"), {1: "ab"}),
    ],
)  # fmt: skip
def test_path_lists_by_the_names_that_tools_of_the_field_give(
    tmp_path: Path, files: tuple[str, ...], splits: dict[int, str]
) -> None:
    """Splits -> names of the training, then the validation, then the test videos."""
    write(tmp_path, {file: f"{name}.avi 0\n" for name, file in zip("abcd", files, strict=False)})
    for split, names in splits.items():
        lists = read_split("path-lists", tmp_path, split=split)
        assert "".join(r.name for r in lists.records) == names
        assert bool(lists.val) == (len(names) == 3)
    with pytest.raises(InputError, match="split 3"):
        read_split("path-lists", tmp_path, split=3)


def test_path_lists_whose_names_are_not_clear(tmp_path: Path) -> None:
    names = ("ucf_train_split_1_videos.txt", "ucf_train_split_1_rawframes.txt", "test.txt")
    write(tmp_path, dict.fromkeys(names, "a.avi 0\n"))
    with pytest.raises(InputError, match=f"2 files.*train videos.*{names[1]}, {names[0]}"):
        read_split("path-lists", tmp_path)


def test_one_list_of_validation_and_test_videos_under_two_names(tmp_path: Path) -> None:
    texts = {"train.csv": "a.mp4,0\n", "val.csv": "b.mp4,0\nc.mp4,0\n"}
    write(tmp_path, texts | {"test.csv": "c.mp4,0\nb.mp4,0\n"})
    split = read_split("path-lists", tmp_path)
    assert ([r.name for r in split.test], split.val) == (["c", "b"], ())
    write(tmp_path, {"test.csv": "c.mp4,0\nd.mp4,0\n"})
    with pytest.raises(InputError, match=r"test.csv:1: c is listed already, at .*val.csv:2"):
        read_split("path-lists", tmp_path)


def test_a_video_with_another_label_elsewhere_is_said_to_have_one(tmp_path: Path) -> None:
    write(tmp_path, {"train.txt": "a 0\na 1\n", "test.txt": "b 0\n"})
    with pytest.raises(InputError, match=r"train.txt:2: a is listed already.*has one label"):
        read_split("path-lists", tmp_path)


def test_class_lists_with_a_list_of_validation_videos(tmp_path: Path) -> None:
    files = {**UCF101, "vallist01.txt": '"Archery/take, 2.avi"\n'}
    lists = read_split("ucf101", write(tmp_path, files))
    assert [(r.name, r.label) for r in lists.val] == [("Archery/take, 2", 0)]
    assert lists.records == lists.train + lists.val + lists.test


# A name has dots, blanks, digits, and what parts columns elsewhere.
PATHS = st.lists(st.text("ab1. -,;#", max_size=6), min_size=1, max_size=3).map(
    lambda parts: "/".join(f"x{part}.y" for part in parts)
)


@given(
    paths=st.lists(PATHS, min_size=2, max_size=6, unique_by=lambda path: path.casefold()),
    labels=st.lists(st.integers(0, 4), min_size=6, max_size=6),
    frames=st.booleans(),
    separator=st.sampled_from([" ", "  ", "\t", ",", ", ", ";"]),
    quoted=st.booleans(),
    suffix=st.sampled_from(["", ".avi", ".MP4"]),
    end=st.sampled_from(["\n", "\r\n", "  \n", "\n\n# comment 7\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
    more=st.integers(0, 6),
)
@settings(max_examples=300)
def test_random_lists_give_their_labels_or_an_error(
    paths: list[str], labels: list[int], frames: bool, separator: str, quoted: bool, suffix: str,
    end: str, mark: str, more: int,
) -> None:  # fmt: skip
    """A list of which one row has one number more is an error at a line; else all is as written."""
    labels[0] = 0
    paths = [path + suffix for path in paths]
    numbers = [f"{f'40{separator}' * frames}{label}" for label in labels]
    if mixed := 1 <= more < len(paths) - 1:  # in train.txt, behind a sound row
        numbers[more] += f"{separator}1"
    listed = [f'"{path}"' if quoted else path for path in paths]
    rows = [separator.join(row) for row in zip(listed, numbers, strict=False)]
    outside = any(".." in path.split("/") for path in paths)
    with TemporaryDirectory() as folder:
        for name, part in (("train.txt", rows[:-1]), ("test.txt", rows[-1:])):
            (Path(folder) / name).write_bytes((mark + end.join(part) + end).encode())
        if mixed or outside:
            with pytest.raises(InputError, match=r"(train|test)\.txt:\d+: "):
                read_split("path-lists", folder)
            return
        split = read_split("path-lists", folder)
    found = [(record.name, record.label) for record in (*split.train, *split.test)]
    names = [without_suffix(str(PurePosixPath(path))) for path in paths]
    assert found == list(zip(names, labels, strict=False))


def test_paths_of_other_machines_are_names_below_their_root() -> None:
    for listed, name in [
        ("C:\\data\\run\\a.b.avi", "data/run/a.b"),
        ("run\\a.mp4", "run/a"),
        ("/data/run/a.avi", "data/run/a"),
        ("run/a.2026.take", "run/a.2026.take"),
    ]:
        assert video_name(listed, where="here") == name


def test_a_short_clip_among_many_classes_is_no_label(tmp_path: Path) -> None:
    rows = [f"v{number}.avi {20 + number} {number}" for number in range(60)]
    (tmp_path / "train.txt").write_text("\n".join([*rows, "short.avi 7 3"]))
    (tmp_path / "test.txt").write_text("w.avi 30 0\n")
    assert read_split("path-lists", tmp_path).train[-1].name == "short"


def test_groups_csv_may_have_suffixes_but_not_only_other_names(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a.avi 0\nb.avi 0\n")
    (tmp_path / "test.txt").write_text("c.avi 0\n")
    (tmp_path / "groups.csv").write_text("a.avi,g\nb,g\n")
    split = read_split("path-lists", tmp_path)
    assert [record.group for record in (*split.train, *split.test)] == ["g", "g", "c"]
    (tmp_path / "groups.csv").write_text("x/a,g\n")
    with pytest.raises(InputError, match=r"groups.csv: none of its names is one of the lists"):
        read_split("path-lists", tmp_path)
