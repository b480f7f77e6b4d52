from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from twostream.sequence.transcripts import NORMALISERS, phoenix2014, phoenix2014t, read_transcripts


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("loc-NORD cl-KOMMEN qu-WAS poss-ICH lh-REGEN", "NORD KOMMEN WAS ICH REGEN"),
        ("__ON__ __EMOTION__ S0NNE __PU__ HABEN2 __LEFTHAND__ __EPENTHESIS__ __OFF__",
         "__ON__ SONNE HABEN __OFF__"),
        ("JETZT WIE AUSSEHEN MORGEN", "JETZT WIE-AUSSEHEN MORGEN"),
        ("ZEIGEN MORGEN ZEIGEN", "ZEIGEN-BILDSCHIRM MORGEN ZEIGEN-BILDSCHIRM"),
        ("ZEIGEN-BILDSCHIRM", "ZEIGEN-BILDSCHIRM"),
        ("K R E I S", "K+R+E+I+S"),
        ("NORD A B SUED", "NORD A+B SUED"),
        ("SCH N EE", "SCH+N EE"),
        ("T A NN E", "T+A+NN+E"),
        ("K+R E", "K+R+E"),
        ("ALPENRAUM ARAUM RAUM", "ALPEN ARAUM RAUM"),
        ("REGEN-PLUSPLUS REGEN", "REGEN"),
        ("SONNE SONNE SONNE REGEN SONNE", "SONNE REGEN SONNE"),
        ("NICHT-VIEL NICHT-VIEL __ON__ __ON__", "NICHT-VIEL NICHT-VIEL __ON__ __ON__"),
        ("loc- REGEN", "REGEN"),
        ("", ""),
    ],
)  # fmt: skip
def test_phoenix2014(before: str, after: str) -> None:
    assert phoenix2014(before.split()) == after.split()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("__ON__ loc-NORD cl-KOMMEN REGEN-PLUSPLUS __LEFTHAND__", "NORD KOMMEN REGEN"),
        ("NICHT-VIEL NICHT-VIEL IX IX", "NICHT-VIEL IX"),
        ("ALPENRAUM RAUM poss-ICH", "ALPEN RAUM poss-ICH"),
    ],
)
def test_phoenix2014t(before: str, after: str) -> None:
    assert phoenix2014t(before.split()) == after.split()


def test_official_references_are_clean(shared_data: Path) -> None:
    """The ground truth of the official evaluation is the annotation, which its rules do not change.

    Except for one sentence, in which a gloss is signed twice.
    """
    folder = shared_data / "wer-phoenix14"
    references = read_transcripts(folder / "phoenix2014-groundtruth-dev.stm")
    assert read_transcripts(folder / "dev.corpus.csv") == references
    changed = [glosses for glosses in references.values() if phoenix2014(glosses) != glosses]
    assert (len(references), len(changed)) == (540, 1)
    (glosses,) = changed
    assert any(gloss == following for gloss, following in pairwise(glosses))


def test_names() -> None:
    assert list(NORMALISERS) == ["none", "phoenix2014", "phoenix2014t"]
    assert NORMALISERS["none"](["loc-A", "loc-A"]) == ["loc-A", "loc-A"]
