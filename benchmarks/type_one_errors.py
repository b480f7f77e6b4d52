"""How often a paired test finds a difference that is not there, in videos of the same scenes.

    python benchmarks/type_one_errors.py --out benchmarks/results/type_one_errors.md

Two results that are right equally often are compared 500 times at a level of 5 %, in each of three
worlds: independent videos, scenes of 4, and scenes of 6 videos. In scenes an answer is, with some
probability, that of the scene instead of the video's own, so that a result is right or wrong on
many videos of a scene at once. Printed is the share of comparisons with p below 0.05: by McNemar's
test, which takes the videos as independent, by sign flips of whole scenes, as `compare` does where
groups are known, and the share with a star (p below 0.05 and an interval without 0). Fails where
the test by scenes rejects fewer than 3 or more than 7 % of the nulls.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machines import machine

from fusion.evaluation.comparison import compare, mcnemar

NULLS, VIDEOS, ACCURACY, SEED = 500, 1200, 0.8, 0
LOWEST, HIGHEST = 3.0, 7.0


class World(NamedTuple):
    """Videos of a scene, and how often an answer is that of the scene."""

    name: str
    scene: int
    shared: float


WORLDS = (
    World("independent videos", 1, 0.0),
    World("scenes of 4", 4, 0.53),
    World("scenes of 6, strong", 6, 0.71),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for world in WORLDS:
        mcnemars, by_groups, stars = rejections(world, nulls=NULLS, seed=SEED)
        rows.append((world.name, mcnemars, by_groups, stars))
        print(
            f"{world.name}: McNemar rejects {mcnemars:.1f} %, sign flips of scenes "
            f"{by_groups:.1f} %, stars {stars:.1f} %"
        )
    if options.out:
        options.out.write_text(as_markdown(rows))
    if not all(LOWEST <= by_groups <= HIGHEST for _, _, by_groups, _ in rows):
        raise SystemExit(f"expected {LOWEST:g} to {HIGHEST:g} % of nulls in all worlds")


def rejections(world: World, *, nulls: int, seed: int) -> tuple[float, float, float]:
    """Percent of nulls that McNemar's test and that by scenes reject, and that get a star."""
    scenes = [f"scene {video // world.scene}" for video in range(VIDEOS)]
    truth, counts = np.ones(VIDEOS, dtype=np.int64), np.zeros(3)
    for first, second in draw_pairs(world, pairs=nulls, rng=np.random.default_rng(seed)):
        answers = {"first": first.astype(np.int64), "second": second.astype(np.int64)}
        (pair,) = compare(answers, truth, groups=scenes)["pairs"]
        counts += mcnemar(first, second).p < 0.05, pair["p"] < 0.05, pair["significant"]
    return tuple(100 * counts / nulls)  # type: ignore[return-value]


def draw_pairs(
    world: World, *, pairs: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Which videos each of two equally good results gets right, bool (V,) both."""

    def one() -> np.ndarray:
        of_scenes = np.repeat(rng.random(VIDEOS // world.scene) < ACCURACY, world.scene)
        own = rng.random(VIDEOS) < ACCURACY
        return np.where(rng.random(VIDEOS) < world.shared, of_scenes, own)

    for _ in range(pairs):
        yield one(), one()


def as_markdown(rows: list[tuple[str, float, float, float]]) -> str:
    table = "".join(
        f"| {name} | {mcnemars:.1f} % | {by_groups:.1f} % | {stars:.1f} % |\n"
        for name, mcnemars, by_groups, stars in rows
    )
    return (
        "# Differences that are not there\n\n"
        f"Made by `benchmarks/type_one_errors.py`, seed {SEED}, on {machine()}, numpy "
        f"{np.__version__}: {NULLS} pairs of\nresults that are equally good, on {VIDEOS:,} videos, "
        "at a level of 5 %. Between 3 and 7 % should be\nrejected. McNemar's test takes the videos "
        "as independent; `compare` uses it only where no groups are known.\n\n"
        "| videos | McNemar | sign flips of whole scenes | and 0 not in the interval (a star) |\n"
        "|---|---|---|---|\n" + table
    )


if __name__ == "__main__":
    main()
