"""What a data set is made of: labelled videos, in named splits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One labelled video.

    Attributes:
        name: path below the video root without suffix, `/`-separated: `Archery/v_Archery_g02_c02`.
        label: class index from 0.
        group: videos of one group show the same scene or come from the same film; a hold-out never
            parts them. Unique over the whole data set.
    """

    name: str
    label: int
    group: str


@dataclass(frozen=True, slots=True)
class Split:
    """One official split of a data set: class names (position = label), train and test videos."""

    class_names: tuple[str, ...]
    train: tuple[VideoRecord, ...]
    test: tuple[VideoRecord, ...]

    def subset(self, name: str) -> tuple[VideoRecord, ...]:
        """The `train` or `test` videos by name."""
        return {"train": self.train, "test": self.test}[name]
