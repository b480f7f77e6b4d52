from __future__ import annotations

from pathlib import Path

import pytest

from twostream.data.splits import DATASETS, read_hmdb51, read_split, read_ucf101
from twostream_base.errors import InputError

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


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return folder


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
        ("trainlist01.txt", "/Archery/x.avi 1\n", r"trainlist01.txt:1: .*leads out"),
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
    lists = DATASETS["folder"](write(tmp_path, files), split=1)
    assert [record.group for record in lists.train] == ["film, part 2", lists.train[1].name]


def test_folder_refuses_a_broken_group_file(tmp_path: Path) -> None:
    files = {**UCF101, "groups.csv": "only a name\n"}
    with pytest.raises(InputError, match=r"groups.csv:1: 1 columns; expected name,group"):
        DATASETS["folder"](write(tmp_path, files), split=1)
