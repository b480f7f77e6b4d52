"""Normalisation of glosses before they are compared, by the rules of the data sets' evaluation.

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
PLAIN_WORD = re.compile("[A-Z]+")
LETTER = re.compile("[A-Z]")
ANY_GLOSS = re.compile(".*")


def unchanged(glosses: Sequence[str]) -> list[str]:
    """Compare the glosses as they are."""
    return list(glosses)


def phoenix2014(glosses: Sequence[str]) -> list[str]:
    """The rules of RWTH-PHOENIX-Weather 2014 (Koller et al., CVIU 2015).

    Marks of place, classifier, question, possession, left hand and plural are removed (`loc-NORD`
    is `NORD`), annotations that are no sign are dropped, variants are unified (`HABEN2`, `...RAUM`,
    `WIE AUSSEHEN`, `ZEIGEN`), spelled letters become one gloss (`K+R+E+I`), and a plain word that
    is repeated at once counts once.
    """
    signs = []
    for gloss in glosses:
        sign = MARKS.sub("", gloss)
        for variant, spelling in SPELLINGS.items():
            sign = sign.replace(variant, spelling)
        if gloss not in NOT_SIGNS and sign:
            signs.append(f"{sign}-BILDSCHIRM" if sign.endswith("ZEIGEN") else sign)
    joined = [ROOM.sub("", gloss) for gloss in _join_compounds(signs)]
    return _collapse_repeats(joined, pattern=PLAIN_WORD)


def phoenix2014t(glosses: Sequence[str]) -> list[str]:
    """The rules of RWTH-PHOENIX-Weather 2014T (Camgoz et al., CVPR 2018).

    Marks of place, classifier and plural are removed, every `__MARKER__` is dropped, `...RAUM`
    loses its ending, and any gloss that is repeated at once counts once.
    """
    signs = [gloss for gloss in glosses if not re.fullmatch("__.*__", gloss)]
    bare = [re.sub("^loc-|^cl-|-PLUSPLUS$|(?<=[A-Z])RAUM$", "", sign) for sign in signs]
    return _collapse_repeats([sign for sign in bare if sign], pattern=ANY_GLOSS)


def _join_compounds(glosses: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for gloss in glosses:
        before = joined[-1] if joined else ""
        if (before, gloss) == ("WIE", "AUSSEHEN"):
            joined[-1] = "WIE-AUSSEHEN"
        elif _is_spelled(before.rpartition("+")[2], gloss.partition("+")[0]):
            joined[-1] = f"{before}+{gloss}"
        else:
            joined.append(gloss)
    return joined


def _is_spelled(before: str, after: str) -> bool:
    """Whether two glosses are letters of one spelled word; SCH and NN are spelled in one sign."""
    letter_before, letter_after = (LETTER.fullmatch(part) is not None for part in (before, after))
    return (letter_before and (letter_after or after == "NN")) or (
        before in ("SCH", "NN") and letter_after
    )


def _collapse_repeats(glosses: Sequence[str], *, pattern: re.Pattern[str]) -> list[str]:
    collapsed: list[str] = []
    for gloss, repeats in groupby(glosses):
        collapsed += [gloss] if pattern.fullmatch(gloss) else list(repeats)
    return collapsed


NORMALISERS: dict[str, Normaliser] = {
    "none": unchanged,
    "phoenix2014": phoenix2014,
    "phoenix2014t": phoenix2014t,
}
