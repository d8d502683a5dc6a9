"""Why boxes are wrong and what each kind of error costs, after TIDE (Bolya et al., ECCV 2020).

Boxes are matched at IoU 0.5. A false box is of the first kind that applies:
loose_box    the right class, IoU of 0.1 to 0.5
wrong_class  IoU of at least 0.5 with an object of another class
duplicate    the right class, IoU of at least 0.5, but the object was found by a better box
background   IoU below 0.1 with every object
both         wrong class and loose box
An object is `missed` where no loose box or wrong class would find it, once fixed.
The cost of a kind is how much AP50 rises when it alone is fixed: a box is moved or renamed, or deleted where that would
find no further object; a missed object is no longer counted as ground truth. Where several boxes, loose or of a wrong
class, would find one object, only the one with the highest score is moved or renamed.
Boxes that AP leaves out (Matches.vanished) are errors on the background that cost nothing.

A box on a crowd region is no error and not counted; yet fixing it may let it find an object.

Ours, because tidecv (2020) needs OpenCV and has a matcher of its own: here AP's own matches decide. On 80 COCO images
with synthetic boxes all costs are within 0.02 of tidecv 1.0.1's, in points of 100. Two things differ on purpose:
- It gives a category that has boxes but no objects an AP of 0, until fixing has deleted its boxes. AP50 here is
  pycocotools', which leaves such a category out. With 70 categories that have objects and 9 that only have boxes
  tidecv's AP50 and costs are 70/79 of ours, but for the kinds whose fixing empties categories.
- It counts boxes on crowd regions as errors of their kind, though AP ignores them.
Compare with it only where scores differ: among equal scores, tidecv ranks false boxes first once anything is fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vision_r1.evaluation.bootstrap import category_ap
from vision_r1.evaluation.coco_ap import Detection, Matches, box_array, paired_iou
from vision_r1.evaluation.curves import CHUNK

ERROR_KINDS = ("missed", "background", "duplicate", "wrong_class", "loose_box", "both")
FOUND, LOOSE = 0.5, 0.1  # IoU


@dataclass(frozen=True)
class _False:
    """The false boxes: places among the boxes of `matches` (n,), kinds, and the objects that they are nearest to.

    kind (n,): place in ERROR_KINDS; target (n,): place in Matches.objects, -1 in an image without objects; fixes (n,):
    whether no box has found the target, and this one has the highest score of those that would, once fixed.
    """

    box: np.ndarray
    kind: np.ndarray
    target: np.ndarray
    fixes: np.ndarray


def error_costs(matches: Matches, detections: Sequence[Detection]) -> dict[str, dict[str, Any]]:
    """Return {kind: {count, cost}} for each of ERROR_KINDS; cost is in AP50, 0..1.

    A cost is None where it is undefined: of every kind where there are no objects; of `missed` also where no category
    that has objects has boxes, since no object then remains to compute AP50 from.
    """
    wrong = _false_boxes(matches, detections)
    missed = ~np.isin(matches.truth, np.concatenate([matches.matched, wrong.target[wrong.fixes]]))
    counted = ~(matches.ignored[0] & ~matches.vanished)[wrong.box]
    before = _ap50(matches, matches)
    costs = {}
    for number, kind in enumerate(ERROR_KINDS):
        if kind == "missed":
            count, after = int(missed.sum()), _ap50(matches, _without(matches, missed))
        else:
            of_kind = wrong.kind == number
            count, after = int((of_kind & counted).sum()), _ap50(matches, _fixed(matches, wrong, of_kind))
        costs[kind] = {"count": count, "cost": None if before is None or after is None else after - before}
    return costs


def _false_boxes(matches: Matches, detections: Sequence[Detection]) -> _False:
    """Return all false boxes, each compared with the objects of its own image."""
    objects = np.sort(matches.truth)  # crowds and areas out of range can't be missed, so no box could find them
    objects = objects[np.argsort([matches.objects[place][0] for place in objects], kind="stable")]
    items = [matches.objects[place][1] for place in objects]
    edges = np.searchsorted([matches.objects[place][0] for place in objects], np.arange(len(matches.image_ids) + 1))
    categories = np.searchsorted(matches.category_ids, [item.category_id for item in items])
    taken = np.isin(objects, matches.matched)
    corners = box_array([item.bbox for item in items])

    box = np.flatnonzero(~matches.hit[0])
    boxes = box_array([detections[place].bbox for place in matches.detection[box]])
    kind, target = np.full(len(box), ERROR_KINDS.index("background")), np.full(len(box), -1)
    number = np.diff(edges)[matches.image[box]]
    compared = np.flatnonzero(number)
    for own in np.array_split(compared, 1 + number.sum() // CHUNK):
        # Every box with every object of its image, box by box.
        starts = np.cumsum(number[own]) - number[own]
        pair = np.repeat(np.arange(len(own)), number[own])
        place = np.arange(len(pair)) - starts[pair] + edges[matches.image[box[own]]][pair]
        overlap = paired_iou(boxes[own[pair]], corners[place])
        same = categories[place] == matches.category[box[own]][pair]
        kind[own], nearest = _kinds(overlap, same, taken[place], starts)
        target[own] = objects[place[nearest]]
    return _False(box, kind, target, _surest(matches, box, kind, target))


def _kinds(
    overlap: np.ndarray, same: np.ndarray, taken: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of each false box (n,), and the place of its pair with the object that decides the kind (n,).

    Pairs of a box and an object come box by box, from `starts` (n,). Of each: IoU, same class, object already found.
    """
    own, own_nearest = _highest(np.where(same, overlap, 0), starts)
    other, other_nearest = _highest(np.where(same, 0, overlap), starts)
    any_object, nearest = _highest(overlap, starts)
    again, _ = _highest(np.where(same & taken, overlap, 0), starts)
    rules = {
        "loose_box": ((own >= LOOSE) & (own < FOUND), own_nearest),
        "wrong_class": (other >= FOUND, other_nearest),
        "duplicate": (again >= FOUND, own_nearest),
        "background": (any_object < LOOSE, nearest),
        "both": (np.ones(len(starts), bool), nearest),
    }
    applies, places = zip(*rules.values(), strict=True)
    return np.select(applies, [ERROR_KINDS.index(kind) for kind in rules]), np.select(applies, places)


def _highest(values: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each segment's highest value, and where it stands first; segments begin at `starts`."""
    highest = np.maximum.reduceat(values, starts)
    is_highest = values == np.repeat(highest, np.diff(starts, append=len(values)))
    return highest, np.minimum.reduceat(np.where(is_highest, np.arange(len(values)), len(values)), starts)


def _surest(matches: Matches, box: np.ndarray, kind: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return which false boxes (n,) would find an unfound object, for each object the one with the highest score."""
    fixable = np.isin(kind, [ERROR_KINDS.index("loose_box"), ERROR_KINDS.index("wrong_class")])
    candidates = np.flatnonzero(fixable & ~np.isin(target, matches.matched))
    candidates = candidates[np.argsort(-matches.scores[box[candidates]], kind="stable")]
    _, first = np.unique(target[candidates], return_index=True)
    surest = np.zeros(len(box), bool)
    surest[candidates[first]] = True
    return surest


def _fixed(matches: Matches, wrong: _False, of_kind: np.ndarray) -> Matches:
    """Return the matches at the lowest threshold with these false boxes (n,) fixed, or deleted where fixing finds
    nothing new."""
    kept = np.ones(len(matches.image), bool)
    kept[wrong.box[of_kind]] = False
    moved = of_kind & wrong.fixes
    source = wrong.box[moved]
    named = np.array([matches.objects[place][1].category_id for place in wrong.target[moved]], int)
    category = np.concatenate([matches.category[kept], np.searchsorted(matches.category_ids, named)])
    scores, image = (np.concatenate([own[kept], own[source]]) for own in (matches.scores, matches.image))
    hit = np.concatenate([matches.hit[0, kept], np.ones(len(source), bool)])
    ignored = np.concatenate([matches.ignored[0, kept], np.zeros(len(source), bool)])
    order = np.lexsort((image, -scores, category))  # pycocotools' order: by score, then by image
    return replace(
        matches,
        category=category[order],
        scores=scores[order],
        image=image[order],
        hit=hit[order][None],
        ignored=ignored[order][None],
    )


def _without(matches: Matches, missed: np.ndarray) -> Matches:
    """Return the matches at the lowest threshold without the missed objects (n,)."""
    return replace(
        matches,
        hit=matches.hit[:1],
        ignored=matches.ignored[:1],
        truth=matches.truth[~missed],
        truth_category=matches.truth_category[~missed],
        truth_image=matches.truth_image[~missed],
    )


def _ap50(matches: Matches, changed: Matches) -> float | None:
    """Return AP50 of the changed matches over the categories that have objects in `matches`.

    Where all of a category's objects were missed and no longer count, its AP is 0, as in TIDE.
    """
    once = np.ones((1, len(matches.image_ids)), np.uint8)
    lowest = replace(changed, hit=changed.hit[:1], ignored=changed.ignored[:1])
    values = category_ap(lowest, once)[0, 0]
    has_boxes = changed.by_category(~changed.ignored[:1])[:, 0] > 0
    values[np.isnan(values) & (matches.objects_by_category > 0) & has_boxes] = 0
    return float(np.nanmean(values)) if not np.isnan(values).all() else None
