"""What a network's spec says of extraction, and what takes its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flow_extract.extraction.settings import extraction_settings
from flow_extract.methods import FLOW_METHODS
from twostream.models.checkpoint import NetworkSpec
from twostream.prediction.networks import Extraction, extraction_of
from twostream_base.errors import InputError

RUN = Path("run")
RECORDED = extraction_settings("farneback", {"winsize": 9}, bound=8.0, short_side=64, codec="raw")
MOTION = NetworkSpec(
    model="resnet18", model_options={}, stream="motion", clip_length=10, frame_interval=1,
    resize=(),
    class_names=("a", "b"), num_segments=3, consensus="mean", consensus_options={}, input_size=32,
    epoch=0, selected_on="val", flow={}, extraction=RECORDED,
)  # fmt: skip


def test_as_recorded() -> None:
    assert extraction_of(MOTION, RUN, Extraction()) == RECORDED
    dropping = replace(MOTION, extraction=RECORDED | {"drop_repeated": True})
    assert extraction_of(dropping, RUN, Extraction()) == dropping.extraction
    spatial = replace(MOTION, stream="spatial")
    assert extraction_of(spatial, RUN, Extraction()) == RECORDED | {
        "method": None,
        "quantiser": RECORDED["quantiser"],
    }


def test_what_the_user_gives_wins() -> None:
    given = Extraction(method_option=["winsize=11"], short_side=32)
    expected = extraction_settings(
        "farneback", {"winsize": 11}, bound=8.0, short_side=32, codec="raw"
    )
    assert extraction_of(MOTION, RUN, given) == expected
    other = extraction_of(MOTION, RUN, Extraction(method="dis"))
    assert other["method"] == {"name": "dis", "options": {"preset": "medium"}}


def test_a_network_of_another_tool() -> None:
    """It knows its bound at most."""
    imported = replace(MOTION, flow={"bound": 15.0}, extraction={})
    assert extraction_of(imported, RUN, Extraction()) == extraction_settings(
        "dis", {}, bound=15.0, short_side=None
    )


def test_flow_of_unknown_origin() -> None:
    unknown = RECORDED | {"method": {"name": "unknown", "options": {}}}
    spec = replace(MOTION, extraction=unknown)
    with pytest.raises(InputError, match=r"flow by 'unknown', .* give the --method"):
        extraction_of(spec, RUN, Extraction())
    assert extraction_of(spec, RUN, Extraction(method="dis"))["short_side"] == 64
    assert extraction_of(replace(spec, stream="spatial"), RUN, Extraction())["method"] is None


def test_flow_of_a_gpu_is_computed_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the method's form there; also where an older store has recorded the device."""

    def make(device: str = "cpu") -> object:
        assert device == "cpu"
        return FLOW_METHODS["dis"]()

    monkeypatch.setitem(FLOW_METHODS, "anywhere", make)
    usual = extraction_settings("anywhere", {}, bound=8.0, short_side=64, codec="raw")
    for record in ({"form": "torch"}, {}):
        options = {"device": "cpu" if record else "cuda:1"}
        method = {"name": "anywhere", "options": options} | record
        spec = replace(MOTION, extraction=usual | {"method": method})
        assert extraction_of(spec, RUN, Extraction()) == usual
