"""How often a paired test finds a difference that is not there, in videos of the same scenes.

    python benchmarks/type_one_errors.py --out benchmarks/results/type_one_errors.md

Two results that are right equally often are compared 500 times at a level of 5 %, in each of three
worlds: independent videos, scenes of 4, and scenes of 6 videos. In scenes an answer is, with some
probability, that of the scene instead of the video's own, so that a result is right or wrong on
many videos of a scene at once. Printed is the share of comparisons with p below 0.05: by McNemar's
test, which takes the videos as independent, by sign flips of whole scenes, as `compare` does where
groups are known, and the share with a star (p below 0.05 and an interval without 0). Fails where
the test by scenes rejects fewer than 3 or more than 7 % of the nulls.

The same over three splits, as `compare --splits` and `table` have it: whose test lists share no
scene (as UCF101's), and where each video is in the list of a split with probability 1/3 (as
HMDB51's), so that videos and scenes are in several; the networks of the splits give the same answer
to a video with probability 0.7. McNemar's test takes all answers as independent; the second test
takes whole scenes, but the same scene in another split as another one.

At last five seeds, which differ in their true accuracy (standard deviation 1 point): one seed of
each is compared, as is done without repeats, then all five, where a star needs the interval over
the seeds too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machines import machine

from fusion.evaluation.comparison import compare, group_gains, mcnemar, sign_flip_test
from fusion.evaluation.pooled import SplitAnswers, compare_over_splits

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


class SplitWorld(NamedTuple):
    """Three splits of scenes of 4, whether their test lists overlap, and the seeds of a result."""

    name: str
    overlap: bool
    seeds: int = 1


SPLIT_WORLDS = (
    SplitWorld("splits of different scenes", overlap=False),
    SplitWorld("splits that overlap", overlap=True),
)
SEED_WORLDS = (
    SplitWorld("one seed of each", overlap=True),
    SplitWorld("five seeds of each", overlap=True, seeds=5),
)
SPLITS, SCENE, SHARED, SAME_ANSWER, SEED_SPREAD = 3, 4, 0.53, 0.7, 0.01


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
    over_splits = []
    for world_ in SPLIT_WORLDS:
        shares = split_rejections(world_, nulls=NULLS, seed=SEED, spread=0.0)
        over_splits.append((world_.name, *shares))
        print(
            f"{world_.name}: McNemar rejects {shares[0]:.1f} %, scenes of each split apart "
            f"{shares[1]:.1f} %, through all splits {shares[2]:.1f} %, stars {shares[3]:.1f} %"
        )
    over_seeds = []
    for world_ in SEED_WORLDS:
        shares = split_rejections(world_, nulls=NULLS, seed=SEED, spread=SEED_SPREAD)
        over_seeds.append((world_.name, *shares[2:]))
        print(f"{world_.name}: videos reject {shares[2]:.1f} %, stars {shares[3]:.1f} %")
    if options.out:
        options.out.write_text(as_markdown(rows, over_splits, over_seeds))
    by_scenes = [row[2] for row in rows] + [row[3] for row in over_splits]
    if not all(LOWEST <= share <= HIGHEST for share in by_scenes):
        raise SystemExit(f"expected {LOWEST:g} to {HIGHEST:g} % of nulls in all worlds")


def split_rejections(
    world: SplitWorld, *, nulls: int, seed: int, spread: float
) -> tuple[float, float, float, float]:
    """Percent of nulls rejected by McNemar's test of all answers, by sign flips of the scenes of
    each split and of scenes through all splits, and percent of stars."""
    rng, counts = np.random.default_rng(seed), np.zeros(4)
    scenes = np.arange(VIDEOS * SPLITS) // SCENE
    for _ in range(nulls):
        if world.overlap:
            member = rng.random((SPLITS, len(scenes))) < 1 / 3
        else:
            member = scenes % SPLITS == np.arange(SPLITS)[:, None]
        answers = [split_answers(world, scenes, rng, spread) for _ in range(2)]
        parts = [
            SplitAnswers(
                split=split + 1,
                names=[f"v{video}" for video in np.flatnonzero(member[split])],
                groups=[f"s{scene}" for scene in scenes[member[split]]],
                right={
                    name: {seed_: of[seed_, split, member[split]] for seed_ in range(world.seeds)}
                    for name, of in zip("ab", answers, strict=True)
                },
            )
            for split in range(SPLITS)
        ]
        first, second = (np.concatenate([part.right[name][0] for part in parts]) for name in "ab")
        apart = [f"{part.split} {group}" for part in parts for group in part.groups or ()]
        (pair,) = compare_over_splits(parts)["pairs"]
        counts += (
            mcnemar(first, second).p < 0.05,
            sign_flip_test(group_gains(first, second, apart).gains) < 0.05,
            pair["p"] < 0.05,
            pair["significant"],
        )
    mcnemars, of_splits, pooled, stars = 100 * counts / nulls
    return float(mcnemars), float(of_splits), float(pooled), float(stars)


def split_answers(
    world: SplitWorld, scenes: np.ndarray, rng: np.random.Generator, spread: float
) -> np.ndarray:
    """Which videos one result gets right in each seed and split, bool (seeds, splits, V)."""
    shape = (world.seeds, SPLITS, len(scenes))

    def draw(*axes: int) -> np.ndarray:
        of_scenes = (rng.random((*axes, scenes.max() + 1)) < ACCURACY)[..., scenes]
        own = rng.random((*axes, len(scenes))) < ACCURACY
        return np.where(rng.random((*axes, len(scenes))) < SHARED, of_scenes, own)

    right = np.where(rng.random(shape) < SAME_ANSWER, draw(), draw(*shape[:2]))
    better = rng.normal(0, spread, world.seeds)[:, None, None] if spread else np.zeros((1, 1, 1))
    turned = rng.random(shape)
    right |= turned < better / (1 - ACCURACY)
    right &= turned >= -better / ACCURACY
    return right


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


def as_markdown(
    rows: list[tuple[str, float, float, float]],
    over_splits: list[tuple[str, float, float, float, float]],
    over_seeds: list[tuple[str, float, float]],
) -> str:
    def table(lines: list[tuple[str, *tuple[float, ...]]]) -> str:
        return "".join(
            f"| {name} | {' | '.join(f'{share:.1f} %' for share in shares)} |\n"
            for name, *shares in lines
        )

    return (
        "# Differences that are not there\n\n"
        f"Made by `benchmarks/type_one_errors.py`, seed {SEED}, on {machine()}, numpy "
        f"{np.__version__}: {NULLS} pairs of\nresults that are equally good, on {VIDEOS:,} videos, "
        "at a level of 5 %. Between 3 and 7 % should be\nrejected. McNemar's test takes the videos "
        "as independent; `compare` uses it only where no groups are known.\n\n"
        "| videos | McNemar | sign flips of whole scenes | and 0 not in the interval (a star) |\n"
        "|---|---|---|---|\n" + table(rows) + "\n"
        f"Over {SPLITS} splits of about {VIDEOS:,} test videos each, in scenes of {SCENE} "
        "(`compare --splits`, `table`).\nWhere test lists overlap, a scene of another split is the "
        "same scene.\n\n"
        "| splits | McNemar, all answers | scenes of each split apart | scenes through all splits "
        "| a star |\n"
        "|---|---|---|---|---|\n" + table(over_splits) + "\n"
        "Networks that differ from seed to seed (standard deviation of their true accuracy "
        f"{100 * SEED_SPREAD:g} point), of\nmethods that are equally good. A test of the videos "
        "says that two networks differ, and they do; over\nseeds, a star also needs the paired t "
        "interval over the seeds.\n\n"
        "| repeats | scenes through all splits | a star |\n"
        "|---|---|---|\n" + table(over_seeds)
    )


if __name__ == "__main__":
    main()
