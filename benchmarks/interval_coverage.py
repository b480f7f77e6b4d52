"""How often the 95 % interval of an accuracy holds the true one, on videos of the same scenes.

    python benchmarks/interval_coverage.py --out benchmarks/results/interval_coverage.md

The worlds are those of type_one_errors.py, and one of nine scenes only (108 videos), where
intervals are wide. Printed is the share of results whose interval holds the true accuracy:
Wilson's, which takes the videos as independent, and that by whole scenes, which is taken where
groups are known; and the interval of the difference of two results, of which the first is as good
or 5 points better.
Fails where that by scenes does so in less than 93 or more than 97 %, but in that last world, and
where that of a difference does so in less than 93 %.

Then three splits, of scenes of 4 or of a geometric number of videos (4 on average), whose test
lists share no scene (as UCF101's) or where each video is in a list with probability 1/3 (as
HMDB51's): the interval of the mean over the splits, and that of the difference of two results that
are equally good. Fails below 92 %.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machines import machine
from type_one_errors import ACCURACY, VIDEOS, WORLDS, World

from fusion.evaluation.comparison import group_gains, sign_flip_interval
from fusion.evaluation.metrics import share
from fusion.evaluation.pooled import SplitAnswers, compare_over_splits

RESULTS, PAIRS, BETTER, SEED = 4000, 1000, 0.05, 0
SPLIT_RESULTS, SPLITS, SCENE, SHARED, SAME_ANSWER, FEWEST = 1000, 3, 4, 0.53, 0.7, 92.0
SCENES = (9, 30, 300)
LOWEST, HIGHEST = 93.0, 97.0
HEADING = (
    "| videos | Wilson's, as if independent | by whole groups | difference of 0 | of 5 points |"
)
FEW = World("9 scenes of 12, strong", 12, 0.71)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    worlds = [*((world, VIDEOS) for world in WORLDS), (FEW, 9 * FEW.scene)]
    rows = [
        (
            world.name,
            *coverage(world, videos),
            *(difference_coverage(world, videos, better=better) for better in (0, BETTER)),
        )
        for world, videos in worlds
    ]
    for name, independent, by_scenes, equal, better in rows:
        print(
            f"{name}: Wilson's holds it in {independent:.1f} %, that by scenes {by_scenes:.1f} %, "
            f"that of a difference {equal:.1f} and {better:.1f} %"
        )
    over_splits = [
        (scenes, unequal, overlap, *split_coverage(scenes, unequal=unequal, overlap=overlap))
        for scenes in SCENES
        for unequal in (False, True)
        for overlap in (False, True)
    ]
    split_rows = [
        f"| {scenes} scenes of {'about ' * unequal}{SCENE}, splits that "
        f"{'overlap' if overlap else 'share none'} | {mean:.1f} % | {difference:.1f} % |"
        for scenes, unequal, overlap, mean, difference in over_splits
    ]
    print(*split_rows, sep="\n")
    if options.out:
        table = "".join(
            f"| {name} | {' | '.join(f'{held:.1f} %' for held in of_world)} |\n"
            for name, *of_world in rows
        )
        options.out.write_text(
            "# Intervals that hold the true accuracy\n\n"
            f"Made by `benchmarks/interval_coverage.py`, seed {SEED}, on {machine()}, numpy "
            f"{np.__version__}: the\n95 % intervals of {RESULTS:,} results, on {VIDEOS:,} videos. "
            f"Those of differences\n(`compare`, by whole groups) are of {PAIRS:,} pairs of "
            "results.\n\n"
            + HEADING
            + "\n|---|---|---|---|---|\n"
            + table
            + f"\n{SPLITS} splits, {SPLIT_RESULTS:,} results "
            "(`compare` and `table` over splits): the interval of the mean,\nand of the difference "
            "of two results that are equally good.\n\n"
            "| videos | mean over the splits | difference |\n|---|---|---|\n"
            + "\n".join(split_rows)
            + "\n"
        )
    if not all(LOWEST <= row[2] <= HIGHEST for row in rows[:-1]):
        raise SystemExit(f"expected {LOWEST:g} to {HIGHEST:g} % in all worlds")
    if not all(min(row[2:]) >= LOWEST for row in rows):
        raise SystemExit(f"expected {LOWEST:g} % at least of all intervals by groups")
    if not all(min(row[3:]) >= FEWEST for row in over_splits):
        raise SystemExit(f"expected {FEWEST:g} % at least over splits")


def split_coverage(scenes: int, *, unequal: bool, overlap: bool) -> tuple[float, float]:
    """Percent of intervals over splits that hold the mean accuracy, and a difference of 0."""
    rng, held = np.random.default_rng(SEED), np.zeros(2)
    for _ in range(SPLIT_RESULTS):
        sizes = rng.geometric(1 / SCENE, scenes) if unequal else np.full(scenes, SCENE)
        scene = np.repeat(np.arange(scenes), sizes)
        of_split = rng.permutation(scenes) % SPLITS
        member = (
            rng.random((SPLITS, len(scene))) < 1 / SPLITS
            if overlap
            else of_split[scene] == np.arange(SPLITS)[:, None]
        )
        member[:, 0] |= ~member.any(axis=1)  # no empty list

        def draw(*axes: int, scene: np.ndarray = scene) -> np.ndarray:
            of_scenes = (rng.random((*axes, scenes)) < ACCURACY)[..., scene]
            own = rng.random((*axes, len(scene))) < ACCURACY
            return np.where(rng.random((*axes, len(scene))) < SHARED, of_scenes, own)

        results = [
            np.where(rng.random((SPLITS, len(scene))) < SAME_ANSWER, draw(), draw(SPLITS))
            for _ in range(2)
        ]
        compared = compare_over_splits(
            [
                SplitAnswers(
                    split,
                    [f"v{video}" for video in np.flatnonzero(rows)],
                    [f"s{number}" for number in scene[rows]],
                    {name: {None: of[split, rows]} for name, of in zip("ab", results, strict=True)},
                )
                for split, rows in enumerate(member)
            ]
        )
        for number, (name, true) in enumerate((("systems", 100 * ACCURACY), ("pairs", 0.0))):
            low, high = compared[name][0]["interval"]
            held[number] += low <= true <= high
    mean, difference = 100 * held / SPLIT_RESULTS
    return float(mean), float(difference)


def coverage(world: World, videos: int) -> tuple[float, float]:
    """Percent of intervals that hold the accuracy, for independent videos and by scenes."""
    rng, held = np.random.default_rng(SEED), np.zeros(2)
    number = np.arange(videos) // world.scene
    scenes = [f"scene {scene}" for scene in number]
    for _ in range(RESULTS):
        of_scenes = (rng.random(number[-1] + 1) < ACCURACY)[number]
        right = np.where(
            rng.random(videos) < world.shared, of_scenes, rng.random(videos) < ACCURACY
        )
        ends = [share(right, groups)["interval"] for groups in (None, scenes)]
        held += [low <= 100 * ACCURACY <= high for low, high in ends]
    independent, by_scenes = 100 * held / RESULTS
    return float(independent), float(by_scenes)


def difference_coverage(world: World, videos: int, *, better: float) -> float:
    """Percent of intervals that hold the true difference of two results, by scenes."""
    rng, held = np.random.default_rng(SEED), 0
    scenes = np.arange(videos) // world.scene
    for _ in range(PAIRS):
        first, second = (
            np.where(
                rng.random(videos) < world.shared,
                (rng.random(scenes[-1] + 1) < accuracy)[scenes],
                rng.random(videos) < accuracy,
            )
            for accuracy in (ACCURACY + better, ACCURACY)
        )
        gains, sizes = group_gains(first, second, scenes)
        low, high = sign_flip_interval(gains, sizes, rng=rng)
        held += low <= better <= high
    return 100 * held / PAIRS


if __name__ == "__main__":
    main()
