from __future__ import annotations

import numpy as np

from fusion.evaluation.significance import compare
from fusion.evaluation.text_tables import compare_lines

NOTHING_MORE = {
    "complementarity": {"oracle": {}, "pairs": []}, "segments": {}, "classes": [], "warnings": [],
}  # fmt: skip


def test_the_table_of_pairs() -> None:
    right = np.tile([0.0, 1.0], (20, 1))
    wrong = right[:, ::-1]
    results = {"good": right, "bad": wrong, "same": right}
    labels = np.ones(20, dtype=np.int64)
    lines = compare_lines(compare(results, labels, rng=np.random.default_rng(0)) | NOTHING_MORE)
    assert lines[0] == "20 videos; intervals by bootstrap of videos"
    assert [line.split()[0] for line in lines[3:6]] == ["good", "same", "bad"]  # the best first
    table = {" ".join(line.split()[:3]): line.split()[3:] for line in lines[8:11]}
    assert " ".join(table["good - bad"]) == "+100.00 [+100.00, +100.00] 20 0 5.7e-06 * 59.02"
    assert table["good - same"] == ["+0.00", "[+0.00,", "+0.00]", "0", "0", "1", "-"]
    assert not any(line.startswith(("streams", "segment", "class")) for line in lines)
