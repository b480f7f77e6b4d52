from flow_extract.store.header import is_current, make_header, recorded_settings, settings_hash

SETTINGS = {"method": None, "quantiser": {"bound": 20.0}, "short_side": None, "codec": "raw"}
FACTS = {
    "name": "class/v",
    "status": "ok",
    "reason": "",
    "size": {"height": 48, "width": 64},
    "fps": 25.0,
    "counts": {"promised": 2, "frames": 2, "flows": 0},
    "source": {"path": "class/v.avi", "size": 3, "mtime_ns": 4},
}


def test_a_header_records_its_settings_whole():
    header = make_header(SETTINGS, **FACTS, decoder="FFmpeg")
    assert recorded_settings(header) == SETTINGS
    assert header == SETTINGS | FACTS | {
        "settings_hash": settings_hash(SETTINGS),
        "decoder": "FFmpeg",
    }


def test_hash_depends_on_every_value_and_on_no_order():
    assert settings_hash(dict(reversed(SETTINGS.items()))) == settings_hash(SETTINGS)
    others = [SETTINGS | {key: "another"} for key in SETTINGS]
    assert len({settings_hash(other) for other in [SETTINGS, *others]}) == len(SETTINGS) + 1


def test_a_record_is_current_for_the_same_settings_and_the_same_file():
    source = FACTS["source"]
    record = {"settings_hash": "abc", "source": source | {"sha256": "def"}}
    assert is_current(record, settings_hash="abc", source=source)
    assert not is_current(record, settings_hash="other", source=source)
    for key in source:
        assert not is_current(record, settings_hash="abc", source=source | {key: 7})
