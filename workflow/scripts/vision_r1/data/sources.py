"""Training sources and benchmarks of several kinds, read into one form.

coco          COCO format, images with boxes; what is asked is drawn (see vision_r1.data.curation)
expressions   RefCOCO, RefCOCO+ and RefCOCOg as MDETR published them: one phrase and its box per entry
regions       Visual Genome's region_descriptions.json, with its image_data.json
references    gRefCOCO's grefs, with its instances.json: phrases that refer to several objects, or to none
samples       questions that are given: the authors' released set, unpacked by fetch_released_data.py
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vision_r1.data.coco import CocoDataset, read_coco
from vision_r1.data.expressions import read_expressions, read_references, read_regions
from vision_r1.data.samples import Sample, read_samples
from vision_r1.files import UserError

# Kind -> the files that it has besides its image folder.
FILES_OF_KIND = {"coco": 1, "expressions": 1, "regions": 2, "references": 2, "samples": 1}


class SourceImage(NamedTuple):
    """One image of a source: its id, its file, and the size that the annotations are for, in pixels.

    id_space: name of the numbering that the id is of; None where it means nothing outside of the source.
    """

    id: int
    path: str
    width: int
    height: int
    id_space: str | None


@dataclass(frozen=True)
class Source:
    """A training source or benchmark, read from `file`: `coco` has its annotations, or `samples` its questions.

    id_space: name of the numbering that its image ids are of; None where they mean nothing outside of it.
    whole: its questions are a set of their own, so each may be taken, however many are about one image.
    """

    name: str
    file: str
    id_space: str | None
    coco: CocoDataset | None = None
    samples: tuple[Sample, ...] = ()
    whole: bool = False

    def images(self) -> list[SourceImage]:
        """Return each image once."""
        if self.coco:
            return [
                SourceImage(image.id, image.path, image.width, image.height, self.id_space)
                for image in self.coco.images
            ]
        return [_source_image(item, self.id_space) for item in {item.image: item for item in self.samples}.values()]

    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all boxes as annotated, corners x1 y1 x2 y2 (n, 4) in pixels, and their images' sizes (n, 2)."""
        items = self.coco.images if self.coco else self.samples
        sizes = np.repeat([(item.width, item.height) for item in items], [len(item.objects) for item in items], axis=0)
        boxes = np.array([own.bbox for item in items for own in item.objects], np.float64).reshape(-1, 4)
        if self.coco:
            boxes[:, 2:] += boxes[:, :2]
        return boxes, sizes.reshape(-1, 2)

    def numbers(self) -> dict[str, int]:
        """Return how many images, boxes and categories, or questions, it has."""
        if self.coco:
            boxes = sum(len(image.objects) for image in self.coco.images)
            return {"images": len(self.coco.images), "boxes": boxes, "categories": len(self.coco.categories)}
        boxes = sum(len(sample.objects) for sample in self.samples)
        return {"images": len(self.images()), "boxes": boxes, "questions": len(self.samples)}


def _source_image(item: Sample, id_space: str | None) -> SourceImage:
    known = (item.image_id, id_space) if item.coco_id is None else (item.coco_id, "coco")
    return SourceImage(known[0], item.image, item.width, item.height, known[1])


def read_sources(entries: Iterable[Sequence[str]], id_spaces: Iterable[Sequence[str]] = ()) -> list[Source]:
    """Read sources from (kind, name, file, image folder, second file where the kind has one).

    `id_spaces` are (name, id space). Images need not exist. Raises UserError naming the file and the item; for an
    unknown kind or another number of files, and for a name that is given twice.
    """
    spaces, sources = dict(id_spaces), {}
    for kind, *words in entries:
        if kind not in FILES_OF_KIND:
            raise UserError(f"source {' '.join(words[:1])}: unknown kind {kind!r}; choose {', '.join(FILES_OF_KIND)}")
        if len(words) != 2 + FILES_OF_KIND[kind]:
            second = ", second file" if FILES_OF_KIND[kind] == 2 else ""
            raise UserError(f"source {' '.join(words)}: kind {kind} takes name, file, image folder{second}")
        name, file = words[:2]
        if name in sources:
            raise UserError(f"source {name}: the name is given twice")
        sources[name] = _read(kind, *words, id_space=spaces.get(name))
    return list(sources.values())


def _read(kind: str, name: str, file: str, images: str, *second: str, id_space: str | None) -> Source:
    if kind == "coco":
        coco = read_coco(name, file, images, must_exist=False, merge_names=True)
        return Source(name, file, id_space, coco=coco)
    if kind == "expressions":
        samples = read_expressions(file, images, id_space)
    elif kind == "regions":
        samples = read_regions(file, *second, images)
    elif kind == "references":
        samples = read_references(file, *second, images, id_space, split="train")
    else:
        samples = read_samples(file, images)
    return Source(name, file, id_space, samples=tuple(samples), whole=kind == "samples")
