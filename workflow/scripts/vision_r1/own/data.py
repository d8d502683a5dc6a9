"""The user's own labelled images: read in any form, split by seed where no test set is given, and measured."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vision_r1.data.coco import CocoDataset, CocoImage, read_coco
from vision_r1.data.formats import READERS
from vision_r1.data.formats.labelled import as_coco, warnings
from vision_r1.data.selection import selection_as_coco
from vision_r1.data.sources import Source
from vision_r1.files import UserError, write_json

_SUFFIXES = {".json": "coco", ".gz": "coco", ".csv": "csv", ".yaml": "yolo", ".yml": "yolo", ".txt": "yolo"}


@dataclass(frozen=True)
class Part:
    """A data set and what section `datasets` says of it: form of the annotations, their place, and the image folder.

    missing: images of the annotations that are not in the folder or have no size; `coco` lacks them.
    copied_from: the user's own annotations where `annotations` is a part of them, written by write_part.
    """

    coco: CocoDataset
    form: str
    annotations: Path
    images: Path
    missing: int = 0
    copied_from: Path | None = None

    def entry(self) -> dict[str, str]:
        """Return the entry of section `datasets`."""
        entry = {} if self.form == "coco" else {"format": self.form}
        return {**entry, "annotations": str(self.annotations), "images": str(self.images)}


def form_of(annotations: Path) -> str:
    """Tell the form of annotations from their name: a folder is VOC's. Raises UserError where the name can't tell."""
    if not annotations.exists():
        raise UserError(f"{annotations}: no such file or folder")
    form = "voc" if annotations.is_dir() else _SUFFIXES.get(annotations.suffix.lower())
    if form is None:
        raise UserError(f"{annotations}: the form of the annotations can't be told from the name; give --format")
    return form


def read_part(name: str, form: str, annotations: Path, images: Path) -> Part:
    """Read annotations of any form; images without a file, or damaged and without a size, are left out, with a warning.

    Raises UserError as the form's reader does, and where no image is there.
    """
    if not images.is_dir():
        raise UserError(f"{images}: no such image folder")
    file = annotations
    with tempfile.TemporaryDirectory() as folder:
        if form != "coco":
            if not annotations.exists():
                raise UserError(f"{annotations}: no such file or folder")
            content = as_coco(annotations, READERS[form](annotations, images))
            for sentence in warnings(content):
                logging.warning("%s: %s", annotations, sentence)
            file = Path(folder) / "converted.json"
            write_json(file, content)
        coco = read_coco(name, file, images, must_exist=False)
    there, missing = [], []
    for image in coco.images:
        (there if image.width and Path(image.path).is_file() else missing).append(image)
    if not coco.images:
        raise UserError(f"{annotations}: lists no images; was the export empty?")
    if not there:
        raise UserError(
            f"{annotations}: none of its {len(coco.images)} images can be read, such as {missing[0].path}; file names "
            f"count from {images}"
        )
    if missing:
        text = "%s: %d of its %d images are left out: they are not in %s, or can't be read, such as %s"
        logging.warning(text, annotations, len(missing), len(coco.images), images, missing[0].path)
    return Part(replace(coco, images=tuple(there)), form, annotations, images, len(missing))


def split(part: Part, share: float, seed: int) -> tuple[list[CocoImage], list[CocoImage]]:
    """Return (train, test) images, a `share` of them in test.

    The order of a hash of seed and file name decides, so that an image seldom changes sides when others are added.
    """
    images = part.coco.images
    count = round(share * len(images))
    if not 0 < count < len(images):
        raise UserError(f"{part.annotations}: {len(images)} images can't be split with --test_share {share:g}")

    def place(image: CocoImage) -> str:
        name = os.path.relpath(image.path, part.images)
        return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()

    test = {image.id for image in sorted(images, key=place)[:count]}
    return [image for image in images if image.id not in test], [image for image in images if image.id in test]


def write_part(part: Part, images: Sequence[CocoImage], file: Path) -> Part:
    """Write some images of a data set as a COCO file of their own, and return that part."""
    source = Source(part.coco.name, str(part.annotations), None, part.coco)
    content = selection_as_coco([(source, image) for image in images])
    for entry in content["images"]:
        entry["file_name"] = os.path.relpath(entry["file_name"], part.images)
    write_json(file, content)
    return Part(read_coco(file.stem, file, part.images), "coco", file, part.images, copied_from=part.annotations)


def numbers(part: Part) -> dict[str, Any]:
    """Return what the limits of a run follow from: counts of images, boxes and categories, and the largest image.

    `objects`: boxes of each image with any, crowds left out; `pixels`: width x height of the largest image;
    `without_category`: images that lack a category, about which a negative question can be asked.
    """
    images = part.coco.images
    kept = [[item for item in image.objects if not item.crowd] for image in images]
    names = {*part.coco.categories.values()}
    return {
        "images": len(images),
        "labelled": sum(bool(items) for items in kept),
        "boxes": sum(map(len, kept)),
        "categories": sorted(names),
        "objects": sorted(len(items) for items in kept if items),
        "pixels": max(image.width * image.height for image in images),
        "without_category": sum({item.label for item in image.objects} != names for image in images),
    }
