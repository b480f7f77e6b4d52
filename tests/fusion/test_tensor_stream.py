from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from fusion.tensor_stream import write_tensor_in_parts
from twostream.files import sha256_bytes


@pytest.mark.parametrize("cuts", [[], [1], [2, 2, 5]])
def test_the_bytes_are_those_of_the_library(tmp_path: Path, cuts: list[int]) -> None:
    values = np.arange(6 * 4, dtype=np.float32).reshape(6, 4)
    labels = np.arange(6)
    write_tensor_in_parts(
        tmp_path / "file",
        "values",
        np.split(values, cuts),
        like=np.broadcast_to(np.float32(0), values.shape),
        labels=labels,
        header=lambda sums: {"sums": "|".join(f"{key} {sums[key]}" for key in sorted(sums))},
    )
    sums = f"labels {sha256_bytes(labels.data)}|values {sha256_bytes(values.data)}"
    whole = save({"values": values, "labels": labels}, metadata={"sums": sums})
    assert (tmp_path / "file").read_bytes() == whole
