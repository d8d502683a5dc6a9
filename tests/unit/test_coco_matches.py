"""The scorer's every number and every single match against pycocotools, on data sets that are odd in every way."""

import contextlib
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
from vision_r1.evaluation import coco_ap
from vision_r1.evaluation.coco_ap import Detection, match

# Few values, so that boxes, overlaps and scores are equal often; a side of 120 is large, of 40 medium.
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
        {"image_id": image.id, "category_id": o.category_id, "bbox": list(o.bbox), "area": o.area, "iscrowd": int(o.crowd)}
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
    precision = evaluation.eval["precision"][..., 0, -1].mean(axis=(0, 1)).tolist()
    by_id = dict(zip(evaluation.params.catIds, precision, strict=True))
    assert matches.per_category == {name: None if by_id[key] < 0 else by_id[key] for key, name in dataset.categories.items()}
    assert matches.image_ids == tuple(evaluation.params.imgIds)
    blocks = {(e["image_id"], e["category_id"]): e for e in evaluation.evalImgs if e and e["aRng"][1] == 1e10 and e["aRng"][0] == 0}
    for number, category in enumerate(matches.category_ids):
        own = [blocks[image, category] for image in matches.image_ids if (image, category) in blocks]
        scores = np.array([score for block in own for score in block["dtScores"]])
        order = np.argsort(-scores, kind="mergesort")
        chosen = matches.category == number
        assert matches.scores[chosen].tolist() == scores[order].tolist()
        assert (matches.detection[chosen] + 1).tolist() == np.array([i for block in own for i in block["dtIds"]])[order].tolist() if len(order) else not chosen.any()
        nothing = np.zeros((10, 0))
        matched = np.concatenate([nothing, *(block["dtMatches"] for block in own)], axis=1)[:, order]
        ignored = np.concatenate([nothing, *(block["dtIgnore"] for block in own)], axis=1)[:, order]
        assert (matches.ignored[:, chosen] == ignored).all()
        assert (matches.hit[:, chosen] == ((matched > 0) & (ignored == 0))).all()
        assert (matches.matched[chosen] == np.where((matched > 0) & (ignored == 0), matched - 1, -1)[0]).all()
        truth = [i - 1 for block in own for i, ignore in zip(block["gtIds"], block["gtIgnore"], strict=True) if not ignore]
        assert sorted(matches.truth[matches.truth_category == number].tolist()) == sorted(truth)
    assert [matches.image_ids[place] for place in matches.image] == [found[place].image_id for place in matches.detection]


@settings(max_examples=150, deadline=None)
@given(cases())
def test_equals_pycocotools_match_by_match(case):
    check(*case)
