"""Pascal VOC: one XML file per image, as LabelImg, CVAT and Roboflow write them.

Coordinates are taken as they are written: pixels, xmax and ymax being the far edge. (Pascal's own files count from 1.)
"""

from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from vision_r1.data.formats.labelled import Corners, Labelled, LabelledImage, read_number, read_size
from vision_r1.data.image_folder import ImageFolder
from vision_r1.files import UserError, files_below


def read(annotations: Path, images: Path) -> Labelled:
    """Read a folder of XML files, each about the image of its name, or else of its `filename`.

    Files without an image are left out. Category names are sorted. Raises UserError naming a file that can't be read as
    VOC.
    """
    if annotations.is_file():
        raise UserError(f"{annotations}: a file; VOC has a folder, with an XML file for each image")
    paths = sorted(path for path in files_below(annotations) if path.suffix.lower() == ".xml")
    if not paths:
        others = [path for ending in ("json", "csv", "yaml") for path in annotations.glob(f"*.{ending}")]
        remedy = others[0] if len(others) == 1 else "VOC's folder, or the file of COCO, of CSV or of YOLO's class names"
        raise UserError(f"{annotations}: no XML files in it; give {remedy}")
    notes: Counter = Counter()
    folder = ImageFolder(images)
    roots = [parse_xml(path) for path in paths]
    meant = [
        (path.relative_to(annotations).as_posix(), (root.findtext("filename") or path.stem).strip() or path.stem)
        for path, root in zip(paths, roots, strict=True)
    ]
    files = folder.resolve(annotations, meant, notes)
    there = [entry for entry in zip(paths, roots, files, strict=True) if entry[2] is not None]
    found = [_image(path, root, file, folder, notes) for path, root, file in there]
    return Labelled(sorted({label for image in found for label, _ in image.boxes}), found, notes)


def parse_xml(path: Path) -> Element:
    """Read an XML file. Raises UserError for invalid XML, and for a DOCTYPE: its entities could fill the memory.

    Also for a root other than VOC's: CVAT's own format would be an image without objects.
    """
    builder, parser = TreeBuilder(), ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*declared: object) -> None:
        raise UserError(f"{path}: has a DOCTYPE, which no annotation needs; remove it")

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except (ExpatError, ValueError, LookupError) as error:  # the latter two: an unknown encoding
        hint = "; save it as UTF-8" if "encoding" in str(error) else ""
        raise UserError(f"{path}: not valid XML ({error}){hint}") from None
    root = builder.close()
    if root.tag != "annotation":
        raise UserError(f"{path}: begins with <{root.tag}>, VOC with <annotation>; export it as Pascal VOC or COCO")
    return root


def _image(path: Path, root: Element, file: str, folder: ImageFolder, notes: Counter) -> LabelledImage:
    size = read_size(root.findtext("size/width"), root.findtext("size/height"))
    if size == (0, 0):
        notes["images without width and height"] += 1
        size = folder.size(file, notes)
    boxes = tuple(_object(path, number, item) for number, item in enumerate(root.findall("object"), start=1))
    if difficult := sum(item.findtext("difficult", "0").strip() == "1" for item in root.findall("object")):
        notes["boxes marked difficult, kept"] += difficult
    return LabelledImage(file, *size, boxes)


def _object(path: Path, number: int, item: Element) -> tuple[str, Corners]:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{path}: object {number} has no name")
    corners = [read_number(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
    if None in corners:
        raise UserError(f"{path}: object {number} ({name}): bndbox does not have the numbers xmin, ymin, xmax and ymax")
    return name, tuple(corners)
