"""Why boxes are wrong and what each kind of error costs, as TIDE (Bolya et al., ECCV 2020) has it.

At IoU 0.5; a box below 0.1 with everything is on the background. The kinds of a false box, the first that applies:
loose_box    the right class, IoU of 0.1 to 0.5
wrong_class  IoU of at least 0.5 with an object of another class
duplicate    the right class, IoU of at least 0.5, but the object was found by a better box
background   IoU below 0.1 with every object
both         wrong class and loose box
and `missed`, an object that no loose box or wrong class would find, once fixed.
The cost of a kind is how much AP50 rises when it alone is fixed: a box is moved or renamed, or deleted where that
finds no object that is still to be found; a missed object is no longer asked for. Of several boxes that would find one
object, loose ones and ones of a wrong class together, only the surest is moved or renamed.
Boxes that AP leaves out (CategoryMatches.vanished) are errors on the background that cost nothing.

A box on a crowd region is no error and not counted; fixed, it may find an object all the same.

Ours, because tidecv (2020) needs OpenCV and keeps its own matcher: here pycocotools' matches decide. On 80 COCO images
with made boxes all costs are within 0.02 points of 100 of tidecv 1.0.1's. Two things differ on purpose:
- It gives a category that has boxes but no objects an AP of 0, until fixing has deleted its boxes. AP50 here is
  pycocotools', which leaves such a category out. With 70 categories that have objects and 9 that only have boxes
  tidecv's AP50 and costs are 70/79 of ours, but for the kinds whose fixing empties categories.
- It counts boxes on crowd regions as errors of their kind, though AP ignores them.
Scores should differ: where they are equal, it ranks false boxes before right ones once it has fixed anything.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pycocotools import mask

from vision_r1.evaluation.bootstrap import category_ap
from vision_r1.evaluation.coco_ap import CategoryMatches, Detection, Matches

ERROR_KINDS = ("missed", "background", "duplicate", "wrong_class", "loose_box", "both")
FOUND, LOOSE = 0.5, 0.1  # IoU


@dataclass(frozen=True)
class _False:
    """A false box: its category's place and its own place in there, its kind, and the object that it is nearest to.

    ignored: it lies on a crowd region.
    """

    category: int
    place: int
    kind: str
    target: int
    ignored: bool


def error_costs(matches: Matches, detections: Sequence[Detection]) -> dict[str, dict[str, Any]]:
    """Return {kind: {count, cost}} for each of ERROR_KINDS; cost is in AP50, 0..1, None where there are no objects."""
    wrong = _false_boxes(matches, detections)
    found = {int(place) for category in matches.categories for place in category.matched if place >= 0}
    fixes = _fixes(matches, wrong, found)
    asked = {int(place) for category in matches.categories for place in category.truth}
    missed = asked - found - fixes.keys()
    before = _ap50(matches, matches.categories)
    costs = {}
    for kind in ERROR_KINDS:
        if kind == "missed":
            count, after = len(missed), _ap50(matches, [_without(each, missed) for each in matches.categories])
        else:
            errors = [error for error in wrong if error.kind == kind]
            count, after = sum(not error.ignored for error in errors), _ap50(matches, _fixed(matches, errors, fixes))
        costs[kind] = {"count": count, "cost": None if before is None or after is None else after - before}
    return costs


def _false_boxes(matches: Matches, detections: Sequence[Detection]) -> list[_False]:
    """Return all false boxes with their kinds."""
    objects = defaultdict(list)
    for place, (image, item) in enumerate(matches.objects):
        if not item.crowd:
            objects[image].append(place)
    found = {int(place) for category in matches.categories for place in category.matched if place >= 0}
    false = defaultdict(list)
    for number, category in enumerate(matches.categories):
        for place in np.flatnonzero(~category.hit[0]):
            on_crowd = bool(category.ignored[0, place] and not category.vanished[place])
            false[category.image[place]].append((number, int(place), on_crowd))
    errors = []
    for image, boxes in false.items():
        places = objects[image]
        if not places:
            errors += [_False(number, place, "background", -1, ignored) for number, place, ignored in boxes]
            continue
        items = [matches.objects[place][1] for place in places]
        overlap = mask.iou(
            [list(detections[matches.categories[number].detection[place]].bbox) for number, place, _ in boxes],
            [list(item.bbox) for item in items],
            [0] * len(items),
        )
        categories = np.array([item.category_id for item in items])
        taken = np.array([place in found for place in places])
        for (number, place, ignored), row in zip(boxes, overlap, strict=True):
            kind, nearest = _kind(row, categories == matches.categories[number].category_id, taken)
            errors.append(_False(number, place, kind, places[nearest], ignored))
    return errors


def _kind(overlap: np.ndarray, same: np.ndarray, taken: np.ndarray) -> tuple[str, int]:
    """Return a false box's kind and the object behind it; IoU, class and being found, each (objects,)."""
    own, other = np.where(same, overlap, 0), np.where(same, 0, overlap)
    if LOOSE <= own.max() < FOUND:
        return "loose_box", int(own.argmax())
    if other.max() >= FOUND:
        return "wrong_class", int(other.argmax())
    if np.where(taken, own, 0).max() >= FOUND:
        return "duplicate", int(own.argmax())
    return ("background" if overlap.max() < LOOSE else "both"), int(overlap.argmax())


def _fixes(matches: Matches, wrong: Sequence[_False], found: set[int]) -> dict[int, _False]:
    """Return, for each object that is still to be found, the surest box that would find it if it were fixed."""
    fixes: dict[int, _False] = {}
    for error in sorted(wrong, key=lambda error: -matches.categories[error.category].scores[error.place]):
        if error.kind in ("loose_box", "wrong_class") and error.target not in found:
            fixes.setdefault(error.target, error)
    return fixes


def _fixed(matches: Matches, errors: Sequence[_False], fixes: Mapping[int, _False]) -> list[CategoryMatches]:
    """Return the matches with these false boxes fixed, or deleted where fixing finds nothing new."""
    by_id = {category.category_id: number for number, category in enumerate(matches.categories)}
    deleted, added = defaultdict(list), defaultdict(list)
    for error in errors:
        deleted[error.category].append(error.place)
        if fixes.get(error.target) is error:
            own = by_id[matches.objects[error.target][1].category_id]
            source = matches.categories[error.category]
            added[own].append((source.scores[error.place], source.image[error.place]))
    return [_changed(each, deleted[number], added[number]) for number, each in enumerate(matches.categories)]


def _changed(category: CategoryMatches, deleted: list[int], added: list[tuple[float, int]]) -> CategoryMatches:
    """Return a category at the lowest threshold, without some boxes, and with others that find an object."""
    new = np.array(added, np.float64).reshape(-1, 2)
    scores = np.concatenate([np.delete(category.scores, deleted), new[:, 0]])
    images = np.concatenate([np.delete(category.image, deleted), new[:, 1].astype(int)])
    hit = np.concatenate([np.delete(category.hit[0], deleted), np.ones(len(new), bool)])
    ignored = np.concatenate([np.delete(category.ignored[0], deleted), np.zeros(len(new), bool)])
    vanished = np.concatenate([np.delete(category.vanished, deleted), np.zeros(len(new), bool)])
    order = np.lexsort((images, -scores))  # pycocotools' order: by score, then by image
    return replace(
        category,
        scores=scores[order],
        image=images[order],
        hit=hit[order][None],
        ignored=ignored[order][None],
        vanished=vanished[order],
    )


def _without(category: CategoryMatches, missed: set[int]) -> CategoryMatches:
    kept = np.array([place not in missed for place in category.truth], bool)
    return replace(category, truth=category.truth[kept], truth_image=category.truth_image[kept])


def _ap50(matches: Matches, categories: Sequence[CategoryMatches]) -> float | None:
    """Return AP50 over the categories that have objects in `matches`, with their matches in `categories`.

    Where all of a category's objects were missed and are no longer asked for, its boxes are worth 0 (as TIDE).
    """
    once = np.ones((1, len(matches.image_ids)), np.int32)
    values = []
    for original, category in zip(matches.categories, categories, strict=True):
        if len(category.truth):
            values.append(float(category_ap(category, once)[0, 0]))
        elif len(original.truth) and not category.ignored[0].all():
            values.append(0.0)
    return sum(values) / len(values) if values else None
