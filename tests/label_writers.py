"""The same labels in formats other than COCO's, as labelling tools write them, and read again."""

import csv
from xml.sax.saxutils import escape

import coco_factory
import yaml

from vision_r1.data.formats import READERS
from vision_r1.data.formats.labelled import as_coco

NAMES = ["circle", "square", "a & b <c>"]


def content():
    """Three images in sub-folders, one without objects; sizes are powers of two, so that relative boxes are exact."""
    boxes = {1: [(1, [8, 8, 32, 20]), (3, [2, 4, 10, 12])], 2: [(2, [0, 0, 64, 32])], 3: []}
    coco = coco_factory.content(boxes, NAMES, size=(64, 32))
    for image in coco["images"]:
        image["file_name"] = f"{image['id']}.v1.png"  # a dot that does not start the file's extension
    return coco


def boxes_of(coco):
    """Return {file name: [(label, [x1, y1, x2, y2])]}."""
    names = {each["id"]: each["name"] for each in coco["categories"]}
    found = {image["id"]: [] for image in coco["images"]}
    for each in coco["annotations"]:
        x, y, width, height = each["bbox"]
        found[each["image_id"]].append((names[each["category_id"]], [x, y, x + width, y + height]))
    return {image["file_name"]: found[image["id"]] for image in coco["images"]}


def write_voc(folder, coco, size=True):
    folder.mkdir()
    for image, (file, boxes) in zip(coco["images"], boxes_of(coco).items(), strict=True):
        parts = [f"<filename>{file}</filename>"]
        if size:
            parts += [f"<size><width>{image['width']}</width><height>{image['height']}</height></size>"]
        for label, box in boxes:
            corners = "".join(
                f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            )
            parts.append(f"<object><name>{escape(label)}</name><bndbox>{corners}</bndbox></object>")
        (folder / f"{file.removesuffix('.png')}.xml").write_text(f"<annotation>{''.join(parts)}</annotation>")
    return folder


def write_yolo(folder, coco, images):
    """Write data.yaml, and the labels beside the folder `images`."""
    (images.parent / "labels").mkdir()
    names = [each["name"] for each in coco["categories"]]
    for image, (file, boxes) in zip(coco["images"], boxes_of(coco).items(), strict=True):
        size = [image["width"], image["height"]]
        lines = []
        for label, (x1, y1, x2, y2) in boxes:
            shares = (x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1], (x2 - x1) / size[0], (y2 - y1) / size[1]
            lines.append(" ".join(map(str, (names.index(label), *shares))))
        (images.parent / "labels" / f"{file.removesuffix('.png')}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text(yaml.safe_dump({"train": "images", "nc": len(names), "names": names}))
    return folder / "data.yaml"


def write_csv(folder, coco, delimiter=","):
    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
        for image, (name, boxes) in zip(coco["images"], boxes_of(coco).items(), strict=True):
            size = [image["width"], image["height"]]
            writer.writerows([[name, *size, label, *box] for label, box in boxes] or [[name, *size] + [""] * 5])
    return path


def written(kind, folder, **options):
    """Write content() in a format, beside images in folder/images; return what a reader takes."""
    images = folder / "images"
    if kind == "voc":
        return write_voc(folder / "xml", content(), **options), images
    if kind == "yolo":
        return write_yolo(folder, content(), images), images
    return write_csv(folder, content(), **options), images


def converted(kind, annotations, images):
    """Return labels of a format as COCO's content."""
    return as_coco(annotations, READERS[kind](annotations, images))
