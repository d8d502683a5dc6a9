"""Every number and every match of the scorer against pycocotools, on data sets with every peculiarity."""

import contextlib
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
from vision_r1.evaluation.coco_ap import Detection, match
from vision_r1.evaluation.curves import mean_curves

# Few values, so that boxes, overlaps and scores are often equal; a side of 120 is large, one of 40 medium.
PLACE = st.sampled_from([0.0, 1.0, 5.0, 7.3])
SIDE = st.sampled_from([0.0, 9.7, 10.0, 12.0, 40.0, 120.0])
ODD_SIDE = st.sampled_from([-10.0, 1e6])
SCORE = st.sampled_from([0.0, 0.1, 0.5, 0.99, -1.0]) | st.floats(0, 1)
IMAGES, CATEGORIES = [12, -3, 2**40, 0], [5, 1, 0]


@st.composite
def objects(draw):
    box = (draw(PLACE), draw(PLACE), draw(SIDE), draw(SIDE))
    area = box[2] * box[3] * draw(st.sampled_from([1, 1, 0.5, -1, 1e9]))
    return CocoObject(draw(st.sampled_from(CATEGORIES)), "", box, area, crowd=draw(st.sampled_from([0, 0, 1])) == 1)


@st.composite
def detections(draw, images):
    box = (draw(PLACE), draw(PLACE), draw(SIDE | ODD_SIDE), draw(SIDE | ODD_SIDE))
    return Detection(draw(st.sampled_from(images)), draw(st.sampled_from(CATEGORIES)), box, draw(SCORE))


@st.composite
def cases(draw):
    ids = draw(st.lists(st.sampled_from(IMAGES), min_size=1, unique=True))
    images = [CocoImage(each, "", 640, 480, tuple(draw(st.lists(objects(), max_size=8)))) for each in ids]
    names = {each: f"name {each}" for each in CATEGORIES}
    return CocoDataset("set", "set", names, tuple(images)), draw(st.lists(detections(ids), max_size=30))


def by_pycocotools(dataset, found):
    """Return COCOeval after its three steps."""

    def coco(entries):
        index = COCO()
        index.dataset = {
            "images": [{"id": image.id} for image in dataset.images],
            "categories": [{"id": key, "name": name} for key, name in dataset.categories.items()],
            "annotations": [{**entry, "id": number} for number, entry in enumerate(entries, start=1)],
        }
        index.createIndex()
        return index

    truth = [
        {"image_id": image.id, "category_id": o.category_id, "bbox": list(o.bbox), "area": o.area, "iscrowd": o.crowd}
        for image in dataset.images
        for o in image.objects
    ]
    results = [
        {"image_id": d.image_id, "category_id": d.category_id, "bbox": list(d.bbox), "area": d.bbox[2] * d.bbox[3]}
        | {"iscrowd": 0, "score": d.score}
        for d in found
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(truth), coco(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def check(dataset, found):
    evaluation = by_pycocotools(dataset, found)
    matches = match(dataset, found)
    assert list(matches.stats.values()) == [None if value < 0 else value for value in evaluation.stats.tolist()]
    assert matches.image_ids == tuple(evaluation.params.imgIds)
    assert matches.category_ids == tuple(evaluation.params.catIds)
    precision = evaluation.eval["precision"][..., 0, -1]
    for place, key in enumerate(matches.category_ids):
        value = np.mean(precision[:, :, place])
        assert matches.per_category[dataset.categories[key]] == (None if value < 0 else value)

    known = precision[:, :, (precision > -1).all(axis=(0, 1))]
    curves = {"0.50": known[0].mean(axis=1), "0.75": known[5].mean(axis=1)} if known.size else {}
    drawn = mean_curves(matches)
    assert drawn.keys() == curves.keys()
    assert all(np.abs(drawn[name] - curve).max() < 5.1e-5 for name, curve in curves.items())  # four digits

    blocks = [e for e in evaluation.evalImgs if e and e["aRng"] == evaluation.params.areaRng[0]]
    objects = [
        (e["category_id"], i - 1) for e in blocks for i, no in zip(e["gtIds"], e["gtIgnore"], strict=True) if not no
    ]
    categories = [matches.category_ids[place] for place in matches.truth_category]
    assert sorted(zip(categories, matches.truth.tolist(), strict=True)) == sorted(objects)
    images = [matches.objects[place][0] for place in matches.truth]
    assert matches.truth_image.tolist() == images and categories == sorted(categories)

    blocks = [e for e in blocks if e["dtIds"]]
    numbers = np.array([i for e in blocks for i in e["dtIds"]], int)
    scores = np.array([score for e in blocks for score in e["dtScores"]])
    order = np.lexsort((-scores, [e["category_id"] for e in blocks for _ in e["dtIds"]]))  # stable: images by id
    assert (matches.detection + 1).tolist() == numbers[order].tolist()
    assert matches.scores.tolist() == scores[order].tolist()
    nothing = np.zeros((10, 0))
    matched, ignored = (
        np.concatenate([nothing, *(e[key] for e in blocks)], axis=1)[:, order] for key in ("dtMatches", "dtIgnore")
    )
    hit = (matched > 0) & (ignored == 0)
    assert (matches.hit == hit).all() and (matches.ignored == ignored).all()
    assert (matches.matched == np.where(hit[0], matched[0] - 1, -1)).all()
    boxes = [found[place] for place in matches.detection]
    assert [matches.image_ids[place] for place in matches.image] == [box.image_id for box in boxes]
    assert [matches.category_ids[place] for place in matches.category] == [box.category_id for box in boxes]


@settings(max_examples=150, deadline=None)
@given(cases())
def test_equals_pycocotools_match_by_match(case):
    check(*case)


def test_only_the_first_hundred_boxes_count():
    rng = np.random.default_rng(0)
    images, found = [], []
    for number in range(5):
        boxes = rng.uniform((0, 0, 5, 5), (300, 300, 120, 120), (20, 4))
        items = [CocoObject(n % 2, "", tuple(box), box[2] * box[3], n % 9 == 0) for n, box in enumerate(boxes.tolist())]
        images.append(CocoImage(number, "", 640, 480, tuple(items)))
        moved = np.abs(boxes[rng.integers(0, 20, 150)] + rng.normal(0, 4, (150, 4)))
        found += [
            Detection(number, n % 40 // 39, tuple(box), float(rng.random())) for n, box in enumerate(moved.tolist())
        ]
    check(CocoDataset("set", "set", {0: "a", 1: "b"}, tuple(images)), found)
