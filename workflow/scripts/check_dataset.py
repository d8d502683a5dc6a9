"""Check a data set before anything uses it: is it readable and whole, and as large as the register says?

Example:
  python workflow/scripts/check_dataset.py --source coco coco_val2017 annotations/instances_val2017.json val2017 \\
      --expect images=5000 --expect boxes=36781 --expect categories=80 --output_json checked.json

A number that nobody published has no --expect; the one found at the first download is written to --lock, and later
downloads must match it.

A warning counts the boxes that can't be right: without area, outside of their image, written as corners or as shares of
the image (see vision_r1/data/oddities.py). Where more than half of all boxes are odd in one way, the data set is
refused.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import add_id_spaces, add_sources, parser, run


def expectation(text: str) -> tuple[str, int]:
    """Read `images=5000`."""
    key, _, number = text.partition("=")
    if key not in ("images", "boxes", "categories", "questions") or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not images=N, boxes=N, categories=N or questions=N")
    return key, int(number)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_sources(arguments, required=True)
    add_id_spaces(arguments)
    arguments.add_argument("--expect", type=expectation, action="append", default=[], metavar="KEY=N")
    arguments.add_argument("--lock", type=Path, metavar="FILE", help="lock file of first downloads (JSON)")
    arguments.add_argument("--output_json", required=True, metavar="FILE", help="JSON file to write: the numbers found")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.lock_file import record
    from vision_r1.data.oddities import in_words, oddities, too_many
    from vision_r1.data.sources import read_sources
    from vision_r1.files import UserError, write_json

    if len(args.source) != 1:
        raise UserError("--source: give one data set, and only one")
    (source,) = read_sources(args.source, args.id_space)
    found = source.numbers()
    for key, number in args.expect:
        if found.get(key) != number:
            raise UserError(f"{source.file}: {found.get(key)} {key}, not {number}; is it whole, and the right one?")
    images = source.images()
    missing = [image.path for image in images if not Path(image.path).is_file()]
    if images and len(missing) == len(images):
        raise UserError(f"{source.file}: none of its {len(images)} images is there, e.g. {images[0].path}")
    if missing:
        logging.warning("%d of %d images are missing, the first is %s", len(missing), len(images), missing[0])
    if args.lock:
        record(args.lock, "datasets", source.name, found)
    boxes, sizes = source.boxes()
    odd = oddities(boxes, sizes)
    for sentence in in_words(odd, len(boxes)):
        logging.warning("%s: %s", source.file, sentence)
    if too_many(odd, len(boxes)):
        raise UserError(f"{source.file}: {'; '.join(in_words(odd, len(boxes)))}. Fix the file")
    notes = dict(source.coco.notes) if source.coco else {}
    write_json(
        args.output_json,
        {
            "dataset": source.name,
            "file": source.file,
            **found,
            "missing": len(missing),
            "odd": odd,
            "read_as_meant": notes,
        },
    )
    logging.info("%s: %s", source.name, found)


if __name__ == "__main__":
    run(main)
