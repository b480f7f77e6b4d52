import hashlib
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow_extract.store import writer
from flow_extract.store.writer import collecting


@given(st.lists(st.binary(max_size=40), max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_offsets_lead_back_to_each_blob(tmp_path, items):
    with collecting(tmp_path) as collected:
        for item in items:
            collected.append(item)
        stream = io.BytesIO()
        collected.copy_to(stream)
        data, offsets = stream.getvalue(), collected.offsets.tolist()
    assert [data[a:b] for a, b in zip(offsets, offsets[1:], strict=False)] == items
    assert len(collected) == len(items)
    assert collected.size == len(data)
    assert collected.sha256 == hashlib.sha256(data).hexdigest()


def test_much_goes_to_a_nameless_file(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MEMORY_LIMIT", 100)
    with collecting(tmp_path) as collected:
        for _ in range(10):
            collected.append(b"x" * 50)
        assert list(tmp_path.iterdir()) == []
        stream = io.BytesIO()
        collected.copy_to(stream)
    assert stream.getvalue() == b"x" * 500


def test_is_closed_at_the_end(tmp_path):
    with collecting(tmp_path) as collected:
        pass
    with pytest.raises(ValueError, match="closed"):
        collected.append(b"x")
