"""Clean-up of glosses before they are compared, by the rules of the data sets' own evaluation.

A normaliser is `(glosses) -> glosses`. The official scripts work on lines of text with sed, awk and
perl; these are the same rules on a list of glosses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby

Normaliser = Callable[[Sequence[str]], list[str]]

NOT_SIGNS = ("__LEFTHAND__", "__EPENTHESIS__", "__EMOTION__", "__PU__")
MARKS = re.compile("loc-|cl-|qu-|poss-|lh-|-PLUSPLUS")
SPELLINGS = {"S0NNE": "SONNE", "HABEN2": "HABEN"}
ROOM = re.compile("(?<=[A-Z][A-Z])RAUM")
ONE_WORD = re.compile("[A-Z]+")


def unchanged(glosses: Sequence[str]) -> list[str]:
    """Compare the glosses as they are."""
    return list(glosses)


def phoenix2014(glosses: Sequence[str]) -> list[str]:
    """The clean-up of RWTH-PHOENIX-Weather 2014 (Koller et al., CVIU 2015).

    Marks of place, classifier, question, possession, left hand and plural are taken off
    (`loc-NORD` is `NORD`), what is no sign is dropped, variants become one (`HABEN2`, `...RAUM`,
    `WIE AUSSEHEN`, `ZEIGEN`), spelled letters one gloss (`K+R+E+I`), and a plain word said twice or
    more in a row counts once.
    """
    signs = [_spell(MARKS.sub("", gloss)) for gloss in glosses if gloss not in NOT_SIGNS]
    joined = _join([sign for sign in signs if sign])
    return _once([ROOM.sub("", gloss) for gloss in joined], only=ONE_WORD)


def phoenix2014t(glosses: Sequence[str]) -> list[str]:
    """The clean-up of RWTH-PHOENIX-Weather 2014T (Camgoz et al., CVPR 2018).

    Marks of place, classifier and plural are taken off, every `__MARKER__` is dropped, `...RAUM`
    loses its ending, and any gloss in a row counts once.
    """
    signs = [gloss for gloss in glosses if not re.fullmatch("__.*__", gloss)]
    bare = [re.sub("^loc-|^cl-|-PLUSPLUS$|(?<=[A-Z])RAUM$", "", sign) for sign in signs]
    return _once([sign for sign in bare if sign], only=re.compile(".*"))


def _spell(gloss: str) -> str:
    for found, meant in SPELLINGS.items():
        gloss = gloss.replace(found, meant)
    return f"{gloss}-BILDSCHIRM" if gloss.endswith("ZEIGEN") else gloss


def _join(glosses: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for gloss in glosses:
        before = joined[-1] if joined else ""
        if (before, gloss) == ("WIE", "AUSSEHEN"):
            joined[-1] = "WIE-AUSSEHEN"
        elif _spelled_on(before.rpartition("+")[2], gloss.partition("+")[0]):
            joined[-1] = f"{before}+{gloss}"
        else:
            joined.append(gloss)
    return joined


def _spelled_on(before: str, after: str) -> bool:
    """Whether two glosses are letters of one spelled word; SCH and NN are spelled in one sign."""
    letters = [re.fullmatch("[A-Z]", part) is not None for part in (before, after)]
    return (
        all(letters) or (before in ("SCH", "NN") and letters[1]) or (letters[0] and after == "NN")
    )


def _once(glosses: Sequence[str], *, only: re.Pattern[str]) -> list[str]:
    kept: list[str] = []
    for gloss, repeats in groupby(glosses):
        kept += [gloss] if only.fullmatch(gloss) else list(repeats)
    return kept


NORMALISERS: dict[str, Normaliser] = {
    "none": unchanged,
    "phoenix2014": phoenix2014,
    "phoenix2014t": phoenix2014t,
}
