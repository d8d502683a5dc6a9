"""The leakage guard: training images that are in a benchmark, by id, by content, and near-duplicates (ours).

A perceptual hash only names candidates: synthetic scenes and plain photographs collide. Each candidate is confirmed
by comparing pixels, and the share of candidates that were innocent is part of the result.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vision_r1.data.image_index import IndexedImage
from vision_r1.data.likeness import NOT_SEARCHED, SEARCHED, likely_copies, same_pixels
from vision_r1.files import UserError, read_json


@dataclass(frozen=True)
class Leak:
    """A training image that is in a benchmark. reason: same_id | same_file | same_pixels."""

    path: str
    dataset: str
    reason: str
    benchmark: str
    benchmark_path: str


_REMEDY = "give what find_leaks.py wrote; if it is that, delete it and run again"


def read_leaks(path: str | Path) -> list[Leak]:
    """Return the leaks that find_leaks.py wrote. Raises UserError for anything else."""
    try:
        return msgspec.convert(read_json(path), _Leaks).images
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: not a list of leaks ({error}); {_REMEDY}") from None


def find_leaks(index: Iterable[IndexedImage]) -> tuple[list[Leak], dict[str, Any]]:
    """Return the training images that are in a benchmark, each once, and the statistics of the search.

    Statistics: images of each role; leaks by reason; candidates (pairs that the hash named, beyond those known by
    id or content), images with a candidate, and false_positive_rate: the share of training images for which the
    hash named only innocent candidates; which copies were searched for, and which were not.
    """
    images = list(index)
    train = [image for image in images if image.role == "train"]
    benchmark = [image for image in images if image.role == "benchmark"]
    leaks: dict[str, Leak] = {}

    def note(image: IndexedImage, reason: str, other: IndexedImage) -> None:
        leaks.setdefault(image.path, Leak(image.path, image.dataset, reason, other.dataset, other.path))

    by_id = {(image.id_space, image.image_id): image for image in benchmark if image.id_space}
    by_content = {image.sha256: image for image in benchmark if image.sha256}
    for image in train:
        if other := by_id.get((image.id_space, image.image_id)):
            note(image, "same_id", other)
        elif other := by_content.get(image.sha256):
            note(image, "same_file", other)
    rest = [image for image in train if image.dhash and image.path not in leaks]
    known = [image for image in benchmark if image.dhash]
    candidates = likely_copies(_hashes(rest), _hashes(known))
    for pair in candidates:
        mine, theirs = rest[pair.ours], known[pair.theirs]
        if mine.path not in leaks and same_pixels(mine.path, theirs.path, pair.turn, pair.distance):
            note(mine, "same_pixels", theirs)
    named = {rest[pair.ours].path for pair in candidates}
    reasons = [leak.reason for leak in leaks.values()]
    statistics = {
        "train_images": len(train),
        "benchmark_images": len(benchmark),
        "leaks": {reason: reasons.count(reason) for reason in ("same_id", "same_file", "same_pixels")},
        "candidate_pairs": len({pair[:2] for pair in candidates}),
        "images_with_a_candidate": len(named),
        "false_positive_rate": len(named - leaks.keys()) / len(train) if train else 0.0,
        "searched_for": SEARCHED,
        "not_searched_for": NOT_SEARCHED,
    }
    return list(leaks.values()), statistics


def refused_images(index: Iterable[IndexedImage], leaks: Iterable[Leak]) -> dict[str, str]:
    """Return path -> reason for the images that training must not use.

    Reasons: in_benchmark (whatever else is wrong with it), missing, unreadable, size_differs.
    """
    faulty = {image.path: image.fault.partition(":")[0] for image in index if image.fault}
    return faulty | {leak.path: "in_benchmark" for leak in leaks}


@dataclass(frozen=True)
class _Leaks:
    images: list[Leak]


def _hashes(images: list[IndexedImage]) -> np.ndarray:
    """Return (n, 4) uint64."""
    return np.frombuffer(bytes.fromhex("".join(image.dhash for image in images)), np.uint64).reshape(-1, 4)
