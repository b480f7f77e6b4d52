import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_extract.store.quantize import dequantize, quantize


def test_known_values_at_bound_20():
    flow = np.array([0, 20, -20, 25, -1e9, 10, -10, 20 / 127, 0.05, -0.05], np.float32)
    expected = [128, 255, 1, 255, 1, 192, 64, 129, 128, 128]  # 63.5 above and below: to even
    assert quantize(flow, bound=20).tolist() == expected


def test_every_level_comes_back():
    levels = np.arange(1, 256, dtype=np.uint8)
    for bound in (1, 8, 20, 33.3):
        assert (quantize(dequantize(levels, bound=bound), bound=bound) == levels).all()


def test_zero_is_exact_and_directions_mirror():
    assert dequantize(np.array([128], np.uint8)) == 0.0
    flow = np.linspace(0, 25, 1000, dtype=np.float32)
    assert (quantize(flow).astype(int) - 128 == 128 - quantize(-flow).astype(int)).all()


@given(st.lists(st.floats(-1e6, 1e6, width=32)), st.floats(0.5, 100))
def test_error_is_at_most_half_a_level(values, bound):
    flow = np.array(values, np.float32)
    error = np.abs(dequantize(quantize(flow, bound=bound), bound=bound) - flow.clip(-bound, bound))
    assert (error <= bound / 254 * (1 + 1e-4)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="not finite"):
        quantize(np.array([0.0, bad, 1.0], np.float32))
