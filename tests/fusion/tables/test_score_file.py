from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save

from fusion.tables.score_file import (
    ScoreTable,
    check_table,
    read_head,
    read_scores,
    write_scores,
)
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
SCORES = np.arange(24).reshape(3, 2, 1, 4)


def assert_same(one: ScoreTable, other: ScoreTable) -> None:
    assert (one.names, one.class_names, one.kind, one.about) == (
        other.names, other.class_names, other.kind, other.about,
    )  # fmt: skip
    np.testing.assert_array_equal(one.scores, other.scores, strict=True)
    np.testing.assert_array_equal(one.labels, other.labels, strict=True)


def header_of(content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["twostream"])


@given(
    scores=array_shapes(min_dims=4, max_dims=4, max_side=4).flatmap(
        lambda shape: arrays(st.sampled_from([np.float32, np.float16]), shape,
                             elements=st.floats(-100, 100, width=16))
    ),
    word=st.text(min_size=1),
)  # fmt: skip
def test_what_is_written_is_read(make_table: Make, scores: np.ndarray, word: str) -> None:
    names = [f"{word}/{row}" for row in range(len(scores))]
    labels = np.arange(len(scores)) % (scores.shape[3] + 1) - 1
    table = replace(make_table(scores, names=names, labels=labels, note=word), scores=scores)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        write_scores(path, table)
        assert_same(read_scores(path), table)


def test_the_same_table_gives_the_same_bytes(make_table: Make, tmp_path: Path) -> None:
    one = make_table(SCORES, kind="logit_sum", summed_over=19, stream="spatial", split=1)
    other = make_table(SCORES, kind="logit_sum", split=1, stream="spatial", summed_over=19)
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
        (lambda t: replace(t, labels=np.array([0, 4, -1])), r"must lie in -1..3; not so for v1"),
        (lambda t: replace(t, labels=np.array([0, 1, -2])), r"not so for v2"),
        (lambda t: replace(t, labels=np.array([0.0, 1, 2])), r"must be int64 \(3,\)"),
        (lambda t: replace(t, scores=t.scores[:, 0]), r"must be float32 or float16 \(videos"),
        (lambda t: replace(t, scores=t.scores.astype(float)), r"scores are float64"),
        (lambda t: replace(t, kind="odds"), r"allowed: logits, logit_sum, probs"),
        (lambda t: replace(t, kind="logit_sum"), r"`summed_over` is None"),
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
