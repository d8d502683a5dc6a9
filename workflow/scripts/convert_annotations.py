"""Convert annotations in VOC (XML files), YOLO (text files) or CSV form (a table) to COCO format.

Examples:
  python workflow/scripts/convert_annotations.py --format voc --annotations Annotations --images JPEGImages \\
      --output_json train.json
  python workflow/scripts/convert_annotations.py --format yolo --annotations data.yaml --images train/images \\
      --output_json train.json
  python workflow/scripts/convert_annotations.py --format csv --annotations labels.csv --images images \\
      --output_json train.json

--annotations is VOC's folder of XML files, YOLO's file with the class names (data.yaml or classes.txt; its labels lie
in a folder `labels` beside `images`, or in `images`), or the CSV table. Section `info` of the output is a summary.
Boxes that can't be right are counted in a warning; more than half are an error, as in check_dataset.py.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--format", required=True, choices=["voc", "yolo", "csv"], help="form of the annotations")
    arguments.add_argument("--annotations", required=True, type=Path, metavar="PATH", help="file or folder, see above")
    arguments.add_argument("--images", required=True, type=Path, metavar="DIR", help="folder with the images")
    arguments.add_argument(
        "--output_json", required=True, type=Path, metavar="FILE", help="annotations in COCO format to write"
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.formats import READERS
    from vision_r1.data.formats.labelled import as_coco, warnings
    from vision_r1.files import UserError, write_json

    if not args.annotations.exists():
        raise UserError(f"{args.annotations}: no such file or folder")
    if args.output_json.suffix.lower() != ".json":  # it could be one of the files of labels
        raise UserError(f"--output_json {args.output_json}: give a name that ends in .json")
    content = as_coco(args.annotations, READERS[args.format](args.annotations, args.images))
    for sentence in warnings(content):
        logging.warning("%s: %s", args.annotations, sentence)
    write_json(args.output_json, content)
    info = content["info"]
    logging.info(
        "%s: %d images, %d of them without boxes; %d boxes: %s",
        args.output_json,
        info["images"],
        info["images_without_boxes"],
        info["boxes"],
        ", ".join(f"{name} {count}" for name, count in info["boxes_of_category"].items()),
    )


if __name__ == "__main__":
    run(main)
