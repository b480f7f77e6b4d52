"""Options out of their range are refused by name, before anything is computed."""

from __future__ import annotations

import pytest

from flow_extract.methods.tvl1 import make_tvl1
from flow_extract.methods.tvl1_fast import make_tvl1_fast
from twostream_base.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0}, "tau is 0; it must be above 0"),
        ({"lambda_": -1.0}, "lambda_ is -1.0; it must be above 0"),
        ({"theta": float("nan")}, "theta is nan; it must be above 0"),
        ({"scales": 0}, "scales is 0; it must be above 0"),
        ({"warps": 0}, "warps is 0"),
        ({"inner": 0}, "inner is 0"),
        ({"outer": 0}, "outer is 0"),
        ({"scale_step": 1.0}, "scale_step is 1.0; allowed: above 0 and below 1"),
        ({"median": 4}, r"median is 4; allowed: 1, 3, 5 \(1: none\)"),
        ({"epsilon": -0.1}, "epsilon is -0.1; it must be 0 or more"),
    ],
)
def test_refuses_options_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        make_tvl1(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0}, "sigma is 0; it must be above 0"),
        ({"iterations": 0}, "iterations is 0; it must be above 0"),
        ({"scale_step": 0}, "scale_step is 0; allowed: above 0 and below 1"),
        ({"median": 7}, "median is 7; allowed: 1, 3, 5"),
    ],
)
def test_the_fast_method_refuses_them_too(options, message):
    with pytest.raises(InputError, match=message):
        make_tvl1_fast(**options)
