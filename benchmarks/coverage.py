"""Coverage of the intervals: how often a 95 % interval contains the true AP, that of an unlimited number of images.

Images, objects and the boxes of two detectors are drawn at random. Images and categories differ in difficulty; scores
follow the quality of a box, or are all equal, like a language model's. The AP of 200,000 images is taken as the true
one. Each line draws many test sets of one size and counts how many intervals contain it, for AP and for the difference
of the two detectors on the same images. The textbook percentile bootstrap (images drawn with replacement) is printed
beside ours.

Example: python benchmarks/coverage.py > benchmarks/results/coverage.txt
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from vision_r1.evaluation.bootstrap import interval, resampled_ap, resamples, weighted_ap
from vision_r1.evaluation.coco_ap import Matches

IOU_THRESHOLDS = np.arange(0.5, 1, 0.05)
POPULATION = 200_000  # images
QUALITY = {"better": 0.9, "worse": 0.6}  # log-odds that an object of average difficulty is found


@dataclass(frozen=True)
class Setting:
    """A type of test set. objects: mean per image; skew: the share of category k is proportional to k ** -skew."""

    categories: int
    images: int
    objects: float = 3.0
    skew: float = 0.0
    equal_scores: bool = False

    def __str__(self) -> str:
        rare = ", some of them rare" if self.skew else ""
        scores = ", equal scores" if self.equal_scores else ""
        return f"{self.categories} categories{rare}, {self.objects:g} objects per image{scores}"


SETTINGS = [
    Setting(categories, images, equal_scores=equal)
    for categories in (1, 20)
    for equal in (False, True)
    for images in (40, 150)
] + [Setting(categories, 150, objects=7.0, skew=1.0) for categories in (20, 80)]


def draw(setting: Setting, images: int, rng: np.random.Generator) -> list[Matches]:
    """Return the matches of both detectors on the same images."""
    shares = np.arange(1, setting.categories + 1) ** -setting.skew
    shares /= shares.sum()
    easy_image = rng.normal(0, 0.8, images)
    easy_category = np.random.default_rng(5).normal(0, 0.8, setting.categories)  # the same in every test set
    image = np.repeat(np.arange(images), rng.poisson(setting.objects, images))
    category = rng.choice(setting.categories, len(image), p=shares)
    ease = easy_image[image] + easy_category[category]
    luck = rng.normal(size=len(image))  # one number per object, shared by the detectors
    return [
        detected(setting, images, rng, image, category, ease + luck + log_odds, shares) for log_odds in QUALITY.values()
    ]


def detected(
    setting: Setting,
    images: int,
    rng: np.random.Generator,
    image: np.ndarray,
    category: np.ndarray,
    log_odds: np.ndarray,
    shares: np.ndarray,
) -> Matches:
    """Draw a detector's boxes: those of found objects, with an IoU and a score, and false ones."""
    found = rng.random(len(image)) < 1 / (1 + np.exp(-log_odds))
    iou = rng.beta(6, 2, len(image))[found]
    false_image = np.repeat(np.arange(images), rng.poisson(0.3 * setting.objects, images))
    boxes = {
        "image": np.concatenate([image[found], false_image]),
        "category": np.concatenate([category[found], rng.choice(setting.categories, len(false_image), p=shares)]),
        "iou": np.concatenate([iou, np.zeros(len(false_image))]),
        "score": np.concatenate([0.3 + 0.4 * iou, np.full(len(false_image), 0.35)]),
    }
    boxes["score"] += rng.normal(0, 0.15, len(boxes["score"]))
    if setting.equal_scores:
        boxes["score"][:] = 0.99
    boxes = {
        key: values[np.lexsort((boxes["image"], -boxes["score"], boxes["category"]))] for key, values in boxes.items()
    }
    hit = boxes["iou"] >= IOU_THRESHOLDS[:, None]
    places, truth = np.arange(len(boxes["iou"])), np.argsort(category, kind="stable")
    return Matches(
        {},
        {},
        image_ids=tuple(range(images)),
        category_ids=tuple(range(setting.categories)),
        objects=(),
        category=boxes["category"],
        image=boxes["image"],
        detection=places,
        scores=boxes["score"],
        hit=hit,
        ignored=np.zeros_like(hit),
        vanished=np.zeros(len(places), bool),
        matched=np.where(hit[0], places, -1),
        truth=truth,
        truth_category=category[truth],
        truth_image=image[truth],
    )


def ap(matches: Matches, weights: np.ndarray) -> np.ndarray:
    return weighted_ap(matches, weights)["AP"]


def once(images: int) -> np.ndarray:
    return np.ones((1, images), np.int32)


def true_values(setting: Setting) -> np.ndarray:
    """Return the AP of both detectors, and the difference, over the whole population."""
    return with_difference(
        [ap(each, once(POPULATION))[0] for each in draw(setting, POPULATION, np.random.default_rng(9))]
    )


def with_difference(pair: list[np.ndarray]) -> np.ndarray:
    return np.stack([*pair, pair[0] - pair[1]])


def covered(setting: Setting, truth: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Draw one test set and return (2, 4): for AP of the better detector, and for the difference, whether our interval
    and the percentile bootstrap's contain the truth, the error, and our interval's width. NaN if there is no AP."""
    rng, images = np.random.default_rng(seed), setting.images
    pair = draw(setting, images, rng)
    values = with_difference([ap(each, once(images)) for each in pair])[:, 0]
    halves = resamples(f"test set {seed}", images, count)
    with_replacement = rng.multinomial(images, np.full(images, 1 / images), size=count).astype(np.int32)
    of_halves = with_difference([resampled_ap(each, halves)["AP"] for each in pair])
    of_bootstrap = with_difference([ap(each, with_replacement) for each in pair])
    lines = []
    for place in (0, 2):
        low, high = interval(values[place], of_halves[place], lowest=-1.0)
        percentiles = np.nanpercentile(of_bootstrap[place], [2.5, 97.5])
        contains = percentiles[0] <= truth[place] <= percentiles[1]
        lines.append([low <= truth[place] <= high, contains, values[place] - truth[place], high - low])
    return np.array(lines, float)


def measure(setting: Setting, sets: int, count: int, pool: ProcessPoolExecutor) -> None:
    truth = true_values(setting)
    many = np.array(
        list(pool.map(covered, [setting] * sets, [truth] * sets, range(sets), [count] * sets, chunksize=10))
    )
    objects = round(setting.images * setting.objects)
    for name, place, lines in (("AP", 0, many[:, 0]), ("difference", 2, many[:, 1])):
        ours, percentile, error, width = lines.mean(axis=0)
        title = f"{setting.images:5} images, {objects:5} objects" if place == 0 else ""
        say(
            f"  {title:28} {name:10} {truth[place]:6.3f}  error {error:+.4f} (SD {lines[:, 2].std():.4f})  "
            f"width {width:.3f}  covers {ours:.3f}   percentile bootstrap {percentile:.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=500, help="test sets of each type and size")
    parser.add_argument("--resamples", type=int, default=300, help="resamples of each test set")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    say(f"$ python benchmarks/coverage.py --sets {args.sets} --resamples {args.resamples}")
    say(f"95 % intervals; a coverage has a standard error of {(0.95 * 0.05 / args.sets) ** 0.5:.3f}")
    title = ""
    with ProcessPoolExecutor(args.processes) as pool:
        for setting in SETTINGS:
            if str(setting) != title:
                title = str(setting)
                say(f"\n{title}")
            measure(setting, args.sets, args.resamples, pool)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
