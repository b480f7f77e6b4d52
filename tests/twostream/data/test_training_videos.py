from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from twostream.data.training_videos import (
    RunVideo,
    card_of,
    describe_changes,
    digest_of,
    find_seen,
    read_videos,
    write_videos,
)
from twostream_base.errors import InputError

VIDEOS = [
    RunVideo("A/a1", "A", "g1", "train", "5eed"),
    RunVideo('A/a "2", odd\nname', "A", "", "train"),
    RunVideo("B/\udce9", "B", "g2", "val", "f00d"),
    RunVideo("B/b2", "B", "g3", "test", "abcd"),
]
CARD = card_of(VIDEOS, dataset="ucf101", split=1, selected_on="val", initial=[])


def test_the_record_comes_back_and_is_plain_csv(tmp_path: Path) -> None:
    path = tmp_path / "videos.csv.gz"
    write_videos(path, VIDEOS)
    assert read_videos(path) == VIDEOS
    first = path.read_bytes()
    write_videos(path, VIDEOS)
    assert path.read_bytes() == first
    assert gzip.decompress(first).startswith(
        b"name,label,group,part,source\nA/a1,A,g1,train,5eed\n"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name,label\n",
        gzip.compress(b"name,label,group,part,source\na,b,c,train,\n")[:-9],
        gzip.compress(b"name,label\na,b\n"),
        gzip.compress(b"name,label,group,part,source\na,b,c,elsewhere,\n"),
    ],
    ids=["empty", "not compressed", "cut off", "other columns", "other part"],
)
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "videos.csv.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"videos\.csv\.gz: .*copy it again"):
        read_videos(path)


def test_changes_are_counted_and_named() -> None:
    now = [
        VIDEOS[0]._replace(part="test"),
        VIDEOS[2]._replace(label="C"),
        VIDEOS[3]._replace(source="dcba"),
        RunVideo("B/b9", "B", "", "val"),
        RunVideo("elsewhere", "", "", "initial"),
    ]
    assert describe_changes(VIDEOS, now).split("; ") == [
        '1 video gone from training (A/a "2", odd\\nname)',
        "1 video moved from training to test (A/a1)",
        "1 video of another file (B/b2)",
        "1 video more in validation (B/b9)",
        "1 video of another label (B/\\udce9)",
    ]
    assert describe_changes(VIDEOS, VIDEOS) == ""
    assert digest_of(now) != digest_of(VIDEOS) == CARD["sha256"]
    assert digest_of([*VIDEOS, now[-1]]) == CARD["sha256"]


def test_what_a_network_has_seen_is_found_by_name_and_by_file() -> None:
    listed = [("a/A1", ""), ("B/\udce9", ""), ("new", "5eed"), ("other", "f00d"), ("B/b2", "abcd")]
    alone = find_seen(listed, card=CARD)
    assert (alone.trained, alone.selecting, alone.count) == (["a/A1"], ["B/\udce9"], 5)
    whole = find_seen(listed, card=CARD, recorded=VIDEOS)
    assert (whole.trained, whole.selecting) == (["a/A1", "new"], ["B/\udce9", "other"])
    assert whole.facts == {"seen_in_training": {"trained": 2, "selecting": 2, "of": 5}}
    assert "2 of 5 videos were trained on (a/A1, new)" in whole.text
    own = find_seen(listed[1:2], card=CARD, recorded=VIDEOS, chosen=False)
    assert not own
    assert own.facts == {}
    assert not find_seen(listed, card={}), "nothing is known of weights of other tools"


def test_what_the_initial_weights_have_seen_stays_seen() -> None:
    later = [RunVideo("A/a3", "A", "", "train"), RunVideo("B/b9", "B", "", "test")]
    card = card_of(later, dataset="ucf101", split=2, selected_on="test", initial=[CARD])
    seen = find_seen([("A/a1", ""), ("A/a3", ""), ("B/b9", ""), ("C", "")], card=card)
    assert (seen.trained, seen.selecting) == (["A/a1", "A/a3"], ["B/b9"])


def test_a_card_is_small_and_a_damaged_one_is_refused() -> None:
    many = [RunVideo(f"class/{number:011x}", "", "", "train") for number in range(1000)]
    card = card_of(many, dataset="kinetics", split=1, selected_on="val", initial=[])
    assert len(card["trained"]) == 8 * len(many)
    with pytest.raises(InputError, match="card of training videos is damaged"):
        find_seen([], card={"trained": "?"})
