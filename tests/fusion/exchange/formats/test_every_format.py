"""What every reader of foreign files must bear: hostile, cut and damaged ones."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from fusion.exchange.formats import SCORE_FORMATS
from twostream_base.errors import InputError

SCORES = np.random.default_rng(0).random((4, 3)).astype(np.float32)
NAMES = ["a", "b", "c", "d"]
LABELS = np.array([0, 1, 2, 0])


def tsn_rows() -> np.ndarray:
    rows = np.empty((4, 2), dtype=object)
    for row in range(4):
        rows[row, 0], rows[row, 1] = SCORES[row][None, None], int(LABELS[row])
    return rows


def written(save: Callable[..., object], *arguments: object, **options: object) -> bytes:
    stream = io.BytesIO()
    save(stream, *arguments, **options)
    return stream.getvalue()


NAMED = dict(zip(NAMES, SCORES, strict=True))
ITEMS = [{"pred_score": torch.from_numpy(row), "gt_label": torch.tensor([1])} for row in SCORES]
CELLS = {"s": SCORES, "n": np.array(NAMES, object)[:, None]}
LINES = [f"{name} {SCORES[row].tolist()} 0 0 0" for row, name in enumerate(NAMES)]
ROWS = [f"{name},{','.join(map(str, SCORES[row]))}" for row, name in enumerate(NAMES)]
SAMPLES = {
    "two-stream-pickle": pickle.dumps(NAMED),
    "counted-pickle": pickle.dumps((NAMED, 1)),
    "tsn-npz": written(np.savez, scores=tsn_rows(), labels=LABELS),
    "npy": written(np.save, SCORES),
    "mmaction2": pickle.dumps(ITEMS),
    "slowfast": pickle.dumps([torch.from_numpy(SCORES), torch.from_numpy(LABELS)]),
    "gluoncv": "\n".join([*LINES, ""]).encode(),
    "mat": written(scipy.io.savemat, CELLS, do_compression=True),
    "csv": "\n".join(["name,x,y,z", *ROWS, ""]).encode(),
    "npz": written(np.savez, scores=SCORES, names=np.array(NAMES)),
}


@pytest.fixture(params=SCORE_FORMATS)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / "scores"
    path.write_bytes(SAMPLES[request.param])
    return request.param, path


def test_scores_and_names_come_as_they_are(sample: tuple[str, Path]) -> None:
    name, path = sample
    foreign = SCORE_FORMATS[name](path)
    # The decimal numbers of a text need not be those of float32.
    assert foreign.scores.dtype == (np.float64 if name == "csv" else np.float32)
    np.testing.assert_array_equal(foreign.scores.astype(np.float32), SCORES[:, None, None])
    assert foreign.names in (None, tuple(NAMES))
    assert foreign.names is not None or name in ("tsn-npz", "npy", "mmaction2", "slowfast")


def test_a_cut_file_is_refused_or_shorter(sample: tuple[str, Path]) -> None:
    name, path = sample
    data = path.read_bytes()
    for length in range(0, len(data) - 20, max(1, len(data) // 40)):
        path.write_bytes(data[:length])
        if name in ("gluoncv", "csv"):  # a text may end after any line
            with contextlib.suppress(InputError):
                assert len(SCORE_FORMATS[name](path).scores) < 4
        else:
            with pytest.raises(InputError, match=str(path)):
                SCORE_FORMATS[name](path)


def test_a_flipped_bit_gives_scores_or_an_input_error(sample: tuple[str, Path]) -> None:
    name, path = sample
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), 200):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            assert SCORE_FORMATS[name](path).scores.ndim == 4


class Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", SCORE_FORMATS)
def test_nothing_runs(tmp_path: Path, name: str) -> None:
    hostile = Runs(tmp_path / "marker")
    array = np.array([[hostile, 1]], dtype=object)
    for data in (
        *(pickle.dumps(content) for content in (hostile, {"a": hostile}, [hostile, LABELS])),
        written(np.savez, scores=array),
        written(np.save, array, allow_pickle=True),
    ):
        (tmp_path / "scores").write_bytes(data)
        with pytest.raises(InputError, match="scores"):
            SCORE_FORMATS[name](tmp_path / "scores")
    assert not (tmp_path / "marker").exists()
