"""The selection split: training images held out by seed, on which checkpoints may be chosen; test images are not."""

from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1.data.coco import CocoImage
from vision_r1.data.sources import Source


def selection_as_coco(held_out: Sequence[tuple[Source, CocoImage]]) -> dict[str, Any]:
    """Return held-out images as one COCO-format data set; `file_name` is the path as it was given.

    Categories are those of all sources, one for each name, renumbered; so are images and annotations.
    """
    names = (name for source, _ in held_out for name in source.coco.categories.values())
    categories = {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}
    boxes = [(number, item) for number, (_, image) in enumerate(held_out, start=1) for item in image.objects]
    return {
        "images": [
            {
                "id": number,
                "file_name": image.path,
                "width": image.width,
                "height": image.height,
                "source_id": f"{source.name}/{image.id}",
                **_looked_for(source, image, categories),
            }
            for number, (source, image) in enumerate(held_out, start=1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": categories[item.label],
                "bbox": list(item.bbox),
                "area": item.area,
                "iscrowd": int(item.crowd),
            }
            for number, (image, item) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def _looked_for(source: Source, image: CocoImage, categories: Mapping[str, int]) -> dict[str, list[int]]:
    """Return what a federated set says of an image, with the new numbers of categories."""
    if image.negatives is None:
        return {}
    lists = {"neg_category_ids": image.negatives, "not_exhaustive_category_ids": image.not_exhaustive}
    names = source.coco.categories
    return {key: [categories[names[number]] for number in own if number in names] for key, own in lists.items()}
