from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twostream.data import stored
from twostream.data.splits import VideoRecord
from twostream.data.stored import join_store
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError


def header(*, frames: int = 30, status: str = "ok", settings: str = "s1") -> dict[str, Any]:
    return {
        "name": "A/v0",
        "source": {"path": "A/v0.avi", "sha256": "0123456789abcdef01234"},
        "sha256": {"flow": "f" * 64, "rgb": "a" * 64},
        "status": status,
        "reason": "28 of 50 frames decoded",
        "size": {"height": 48, "width": 64},
        "counts": {"frames": frames, "flows": frames - 1},
        "settings_hash": settings,
        "method": {"name": "dis", "options": {}},
        "quantiser": {"bound": 20.0},
    }


RECORDS = [VideoRecord(f"A/v{i}", 0, f"g{i}") for i in range(3)]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    headers: dict[str, Any] = {record.name: header() for record in RECORDS}
    monkeypatch.setattr(stored, "scan_store", lambda path: headers)
    return headers


def join(**options: Any) -> stored.Joined:
    return join_store(RECORDS, Path("/store"), modality=MODALITIES["motion"], **options)


def test_a_complete_store(store: dict[str, Any]) -> None:
    joined = join()
    assert [video.record for video in joined.videos] == RECORDS
    assert [video.length for video in joined.videos] == [29] * 3
    assert [video.source for video in joined.videos] == ["0123456789abcdef"] * 3
    assert joined.videos[1].path == Path("/store/A/v1.safetensors")
    assert joined.flow == {"method": {"name": "dis", "options": {}}, "bound": 20.0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, "not extracted"),
        (header(status="damaged"), "damaged: 28 of 50 frames decoded; --use-damaged"),
        (header(frames=1), "has 1 frame, so no flow"),
    ],
)
def test_missing_videos_are_named_or_counted(
    store: dict[str, Any], change: dict[str, Any] | None, reason: str
) -> None:
    store["A/v1"] = change
    if change is None:
        del store["A/v1"]
    with pytest.raises(InputError, match=rf"1 of 3 listed videos .*A/v1 \({reason}"):
        join()
    joined = join(allow_missing=True)
    assert [video.record.name for video in joined.videos] == ["A/v0", "A/v2"]
    assert list(joined.missing) == ["A/v1"]


def test_damaged_videos_on_request(store: dict[str, Any]) -> None:
    store["A/v1"] = header(status="damaged")
    assert len(join(use_damaged=True).videos) == 3


def test_one_frame_is_enough_for_the_spatial_stream(store: dict[str, Any]) -> None:
    store["A/v1"] = header(frames=1)
    joined = join_store(RECORDS, Path("/store"), modality=MODALITIES["spatial"])
    assert [video.length for video in joined.videos] == [30, 1, 30]


def test_nothing_at_all_is_an_error_even_if_missing_is_allowed(store: dict[str, Any]) -> None:
    store.clear()
    with pytest.raises(InputError, match="none of the 3 listed videos .* extract-flow"):
        join(allow_missing=True)


def test_mixed_settings_are_refused(store: dict[str, Any]) -> None:
    store["A/v2"] = header(settings="s2")
    with pytest.raises(InputError, match="/store mixes videos of 2 settings"):
        join()


def test_frames_of_different_flow_are_alike(store: dict[str, Any]) -> None:
    """While flow is added to frames, the spatial stream may learn from all of them."""
    store["A/v0"] |= {"method": None, "settings_hash": "s0"}
    store["A/v0"]["counts"] = {"frames": 30, "flows": 0}
    store["A/v2"] |= {"quantiser": {"bound": 10.0}, "settings_hash": "s2"}
    joined = join_store(RECORDS, Path("/store"), modality=MODALITIES["spatial"])
    assert [video.length for video in joined.videos] == [30, 30, 30]
    assert joined.extraction["method"] is None
    for key, value in (("short_side", 112), ("tree", {"layout": "xy", "quantiser": "ours"})):
        other = store["A/v2"] | {key: value}
        store["A/v1"] = other
        with pytest.raises(InputError, match="/store mixes videos of 2 settings"):
            join_store(RECORDS, Path("/store"), modality=MODALITIES["spatial"])


@pytest.mark.parametrize("stream", ["spatial", "difference"])
def test_frames_alone_serve_the_streams_of_frames(store: dict[str, Any], stream: str) -> None:
    for name in store:
        store[name] |= {"method": None, "counts": {"frames": 30, "flows": 0}}
    joined = join_store(RECORDS, Path("/store"), modality=MODALITIES[stream])
    assert [video.length for video in joined.videos] == [30, 30, 30]


def test_flow_of_frames_alone_is_refused_with_the_cure(store: dict[str, Any]) -> None:
    for name in ("A/v0", "A/v1"):
        store[name] |= {"method": None, "counts": {"frames": 30, "flows": 0}}
    with pytest.raises(InputError) as caught:
        join()
    text = str(caught.value)
    assert text.startswith("/store: 2 of 3 listed videos are stored as frames alone")
    assert "`twostream extract-flow --method dis`" in text
    assert len(text.splitlines()) == 1
    joined = join(allow_missing=True)
    assert joined.missing == dict.fromkeys(["A/v0", "A/v1"], "frames alone, without flow")
    store["A/v2"] = store["A/v0"]
    with pytest.raises(InputError, match="/store: 3 of 3 .* --method dis"):
        join(allow_missing=True)
