from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save

from fusion.tables.score_file import (
    ScoreTable,
    StoredScores,
    check_table,
    read_head,
    read_scores,
    select,
    slices,
    table_of_array,
    write_scores,
    write_scores_in_parts,
)
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
SCORES = np.arange(24).reshape(3, 2, 1, 4)


def assert_same(one: ScoreTable, other: ScoreTable) -> None:
    assert (one.names, one.class_names, one.score_type, one.metadata) == (
        other.names, other.class_names, other.score_type, other.metadata,
    )  # fmt: skip
    np.testing.assert_array_equal(one.scores, other.scores, strict=True)
    np.testing.assert_array_equal(one.labels, other.labels, strict=True)


def header_of(content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["twostream"])


@given(
    scores=array_shapes(min_dims=4, max_dims=4, max_side=4).flatmap(
        lambda shape: arrays(st.sampled_from([np.float32, np.float16, np.float64]), shape,
                             elements=st.floats(-100, 100, width=16))
    ),
    word=st.text(min_size=1),
)  # fmt: skip
@settings(max_examples=40)  # each of them is a file
def test_what_is_written_is_read(make_table: Make, scores: np.ndarray, word: str) -> None:
    names = [f"{word}/{row}" for row in range(len(scores))]
    labels = np.arange(len(scores)) % (scores.shape[3] + 1) - 1
    table = replace(make_table(scores, names=names, labels=labels, note=word), scores=scores)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        write_scores(path, table)
        assert_same(read_scores(path), table)


def test_the_same_table_gives_the_same_bytes(make_table: Make, tmp_path: Path) -> None:
    one = make_table(SCORES, score_type="logit_sum", summed_over=19, stream="spatial", split=1)
    other = make_table(SCORES, score_type="logit_sum", split=1, stream="spatial", summed_over=19)
    write_scores(tmp_path / "a", one)
    write_scores(tmp_path / "b", other)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_header_is_what_the_format_says(make_table: Make, tmp_path: Path) -> None:
    write_scores(tmp_path / "a", make_table(SCORES, stream="spatial"))
    header = header_of((tmp_path / "a").read_bytes())
    assert header["about"] == {"stream": "spatial"}
    assert header["format"] == 1
    assert header["names"] == ["v0", "v1", "v2"]
    assert header["class_names"] == ["c0", "c1", "c2", "c3"]
    assert header["kind"] == "logits"
    assert set(header["sha256"]) == {"scores", "labels"}


def test_scores_that_are_not_contiguous(make_table: Make, tmp_path: Path) -> None:
    table = make_table(SCORES)
    turned = replace(table, scores=np.asfortranarray(table.scores))
    write_scores(tmp_path / "a", turned)
    assert_same(read_scores(tmp_path / "a"), table)


def with_nan(table: ScoreTable) -> ScoreTable:
    scores = table.scores.copy()
    scores[1, 1, 0, 2] = np.nan
    return replace(table, scores=scores)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_nan, r"NaN or infinite, for v1;"),
        (lambda t: replace(t, names=("v0", "v1", "v1")), r"video names must differ.*: v1"),
        (lambda t: replace(t, names=("v0", "v1", "")), r"video names must be texts"),
        (lambda t: replace(t, names=("v0",)), r"1 names and 4 classes"),
        (lambda t: replace(t, class_names=("a", "a", "b", "c")), r"class names must differ.*: a"),
        (lambda t: replace(t, labels=np.array([0, 4, -1])), r"must be in -1..3; not so for v1"),
        (lambda t: replace(t, labels=np.array([0, 1, -2])), r"not so for v2"),
        (lambda t: replace(t, labels=np.array([0.0, 1, 2])), r"must be int64 \(3,\)"),
        (
            lambda t: replace(t, scores=t.scores[:, 0]),
            r"must be float16, float32 or float64 \(videos",
        ),
        (lambda t: replace(t, scores=t.scores.astype(int)), r"scores are int64"),
        (lambda t: replace(t, score_type="odds"), r"allowed: logits, logit_sum, probs"),
        (lambda t: replace(t, score_type="logit_sum"), r"`summed_over` is None"),
        (
            lambda t: replace(t, score_type="logit_sum", metadata={"summed_over": True}),
            r"`summed_over` is True",
        ),
    ],
)
def test_a_table_that_is_not_sound(
    make_table: Make, tmp_path: Path, spoil: Callable[[ScoreTable], ScoreTable], message: str
) -> None:
    path = tmp_path / "a.safetensors"
    spoilt = spoil(make_table(SCORES))
    with pytest.raises(InputError, match=message):
        check_table(spoilt, where="here")
    with pytest.raises(InputError, match=f"^{path}"):
        write_scores(path, spoilt)
    assert list(tmp_path.iterdir()) == []


def write_raw(path: Path, header: object, **tensors: np.ndarray) -> None:
    path.write_bytes(save(tensors, metadata={"twostream": json.dumps(header)}))


def test_damage_is_found(make_table: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_scores(path, make_table(SCORES))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"a.safetensors: .*`(labels|scores)`.* checksum"):
        read_scores(path)
    path.write_bytes(whole[:-4])
    with pytest.raises(InputError, match=r"a(.safetensors)?: .*truncated"):
        read_scores(path)


def test_other_files_are_told_apart(make_table: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x80\x04]\x94.")
    with pytest.raises(InputError, match="twostream scores import"):
        read_scores(path)
    path.write_bytes(save({"weight": np.zeros(3)}))
    with pytest.raises(InputError, match="a.safetensors: not a valid score file"):
        read_scores(path)
    write_raw(path, {"codec": "jpeg"}, rgb=np.zeros(3))
    with pytest.raises(InputError, match=r"a.safetensors: .*format None"):
        read_scores(path)


def test_other_contents_are_named(make_table: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    table = make_table(SCORES)
    write_scores(path, table)
    header = header_of(path.read_bytes())
    tensors = {"scores": table.scores, "labels": table.labels}
    write_raw(path, header | {"format": 9}, **tensors)
    with pytest.raises(InputError, match="format 9; this version reads 1"):
        read_scores(path)
    write_raw(path, header, **tensors, extra=np.zeros(3))
    with pytest.raises(InputError, match="holds extra, labels, scores"):
        read_scores(path)
    write_raw(path, header | {"names": ["v0", "v0", "v2"]}, **tensors)
    with pytest.raises(InputError, match="a.safetensors: video names must differ"):
        read_scores(path)


def test_numbers_that_numpy_does_not_know(make_table: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_scores(path, make_table(SCORES))
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))
    with pytest.raises(InputError, match="scores are int32"):
        read_scores(path)
    table = replace(make_table(SCORES), scores=SCORES.astype(np.float16))
    write_scores(path, table)
    path.write_bytes(path.read_bytes().replace(b'"F16"', b'"BF16"').replace(b"}} ", b"}}"))
    with pytest.raises(InputError, match="`scores` is BF16"):
        read_scores(path)


def test_the_head_is_read_without_the_scores(make_table: Make, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_scores(path, make_table(SCORES, split=1))
    head = read_head(path)
    assert head["shape"] == (3, 2, 1, 4)
    assert (head["names"], head["kind"], head["about"]) == (
        ["v0", "v1", "v2"],
        "logits",
        {"split": 1},
    )
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"a(.safetensors)?: .*truncated"):
        read_head(path)


@pytest.fixture
def large_file(tmp_path: Path, make_table: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven videos of 3 segments, 2 crops and 5 classes, which count as too many for memory."""
    monkeypatch.setattr("fusion.tables.score_file.LARGE_BYTES", 0)
    monkeypatch.setattr("fusion.tables.score_file.SLICE_BYTES", 2 * 3 * 2 * 5 * 4)
    scores = np.random.default_rng(0).normal(size=(7, 3, 2, 5))
    table = make_table(scores, labels=[0, 1, 2, 3, 4, -1, 0], stream="spatial")
    write_scores(tmp_path / "a.safetensors", table)
    return tmp_path / "a.safetensors"


def test_the_scores_of_a_large_file_are_read_when_asked_for(large_file: Path) -> None:
    stored, table = read_scores(large_file, in_memory=False), read_scores(large_file)
    assert isinstance(stored.scores, StoredScores)
    assert isinstance(table.scores, np.ndarray)
    assert (stored.names, stored.class_names, stored.score_type, stored.metadata) == (
        table.names, table.class_names, table.score_type, table.metadata,
    )  # fmt: skip
    assert stored.labels.tolist() == table.labels.tolist()
    assert (stored.scores.shape, stored.scores.dtype) == (table.scores.shape, table.scores.dtype)
    np.testing.assert_array_equal(np.asarray(stored.scores), table.scores, strict=True)
    assert list(slices(table.scores)) == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)]
    for part in slices(stored.scores):
        np.testing.assert_array_equal(stored.scores[part], table.scores[part], strict=True)


def test_stored_videos_and_classes_in_any_order(large_file: Path) -> None:
    rows, columns = [5, 0, 2, 1, 6, 3, 4], [4, 0, 1, 3, 2]
    stored, scores = read_scores(large_file, in_memory=False).scores, read_scores(large_file).scores
    for _ in range(2):  # a selection of a selection
        stored, scores = select(stored, rows, columns), select(scores, rows, columns)
        assert stored.shape == (7, 3, 2, 5)
        np.testing.assert_array_equal(stored[2:4], scores[2:4])


def test_a_large_file_that_is_none(tmp_path: Path, large_file: Path) -> None:
    (tmp_path / "b").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"b: not a valid score file .*7 bytes"):
        read_scores(tmp_path / "b", in_memory=False)


@pytest.fixture
def table(make_table: Make) -> ScoreTable:
    """Seven videos, with names that JSON has to escape, or need not."""
    scores = np.random.default_rng(0).normal(size=(7, 3, 2, 4))
    names = ["a b", 'quote"', "back\\slash", "tab\t\x01\x7f", "Ägypten/日本", "emoji 🎈", "z"]
    return make_table(scores, names=names, labels=[0, 1, 2, 3, 0, -1, 2], split=1, note="ß")


def rows(table: ScoreTable, begin: int, end: int) -> ScoreTable:
    return replace(
        table,
        names=table.names[begin:end],
        scores=table.scores[begin:end],
        labels=table.labels[begin:end],
        metadata={"part": begin},
    )


@pytest.mark.parametrize("edges", [(0, 7), (0, 1, 7), (0, 3, 4, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_parts_give_the_bytes_of_the_whole(
    table: ScoreTable, tmp_path: Path, edges: tuple[int, ...], dtype: type
) -> None:
    table = replace(table, scores=table.scores.astype(dtype))
    write_scores(tmp_path / "at-once", table)
    parts = (rows(table, *pair) for pair in zip(edges, edges[1:], strict=False))
    whole = replace(table, scores=np.broadcast_to(dtype(0), table.scores.shape))
    write_scores_in_parts(tmp_path / "in-parts", parts, whole=whole)
    assert (tmp_path / "in-parts").read_bytes() == (tmp_path / "at-once").read_bytes()


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([(0, 3), (4, 7)], "the part with videos 3 to 6 does not belong to this file"),
        ([(0, 3), (3, 6)], "the parts hold 6 of 7 videos"),
        ([(0, 7), (0, 1)], "the part with videos 7 to 8 does not belong to this file"),
    ],
)
def test_missing_and_doubled_videos_are_refused(
    table: ScoreTable, tmp_path: Path, edges: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_scores_in_parts(tmp_path / "a", (rows(table, *pair) for pair in edges), whole=table)
    assert not list(tmp_path.iterdir())


def test_a_part_that_is_not_sound_is_refused(table: ScoreTable, tmp_path: Path) -> None:
    scores = table.scores.copy()
    scores[5, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN or infinite, for emoji"):
        write_scores_in_parts(tmp_path / "a", [replace(table, scores=scores)], whole=table)


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4), (5, 3, 2, 4)])
def test_arrays_become_tables(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    table = table_of_array(array, labels=[0, 1, 2, 3, -1])
    assert table.scores.shape == (5, *(*shape[1:-1], 1, 1)[:2], 4)
    np.testing.assert_array_equal(table.scores.reshape(shape), array)
    assert (table.names, table.class_names) == (tuple("01234"), tuple("0123"))
    assert (table.score_type, table.labels.tolist()) == ("logits", [0, 1, 2, 3, -1])
    probs = np.abs(array) / np.abs(array).sum(axis=-1, keepdims=True)
    assert table_of_array(probs).score_type == "probs"
    assert table_of_array(probs, score_type="logits").score_type == "logits"
    assert table_of_array(array).labels.tolist() == [-1] * 5
    for dtype in (np.float16, np.float32, np.float64):
        assert table_of_array(array.astype(dtype)).scores.dtype == dtype
    assert table_of_array(np.ones(shape, int)).scores.dtype == np.float32


@pytest.mark.parametrize(
    ("scores", "options", "fact"),
    [
        (np.zeros(4), {}, r"float64 \(4,\)"),
        (np.array([["a"]]), {}, "<U1"),
        (np.full((2, 3), np.nan), {}, "NaN or infinite, for 0, 1"),
        (np.zeros((2, 3)), {"labels": [0.5, 1]}, "labels are float64"),
        (np.zeros((2, 3)), {"labels": [0]}, r"labels are int64 \(1,\)"),
        (np.zeros((2, 3)), {"labels": [0, 3]}, r"-1..2; not so for 1"),
        (np.zeros((2, 3)), {"score_type": "odds"}, "'odds'; allowed: logits"),
    ],
)
def test_arrays_that_are_no_scores(scores: np.ndarray, options: dict, fact: str) -> None:
    with pytest.raises(InputError, match=fact):
        table_of_array(scores, **options)
