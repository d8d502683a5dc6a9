"""Index the images of training sources and benchmarks: size, checksum, perceptual hash, and what is wrong with them.

Example:
  python workflow/scripts/index_images.py --train coco coco_train2017 instances_train2017.json train2017 \\
      --benchmark coco coco_val2017 instances_val2017.json val2017 \\
      --id_space coco_train2017 coco --id_space coco_val2017 coco \\
      --cache image_cache.sqlite --threads 8 --output_index images.jsonl

Each file is read once, by a pool of processes. An image that the cache knows by its content is not decoded again.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import add_id_spaces, add_sources, parser, run, whole_number


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_sources(arguments, "--train")
    add_sources(arguments, "--benchmark")
    add_id_spaces(arguments)
    arguments.add_argument("--cache", required=True, type=Path, metavar="FILE", help="SQLite file, made if missing")
    arguments.add_argument("--threads", type=whole_number(1), default=1, help="processes of the pool")
    arguments.add_argument(
        "--output_index", required=True, metavar="FILE", help="index (JSONL) to write, one image a line"
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from dataclasses import asdict, replace

    from vision_r1.data.coco import exchanged_sizes
    from vision_r1.data.image_index import IndexedImage, index_images
    from vision_r1.data.sources import read_sources
    from vision_r1.files import UserError, write_jsonl

    images = [
        (role, source, image)
        for role, entries in (("train", args.train), ("benchmark", args.benchmark))
        for source in read_sources(entries, args.id_space)
        for image in source.images()
    ]
    paths = list(dict.fromkeys(image.path for *_, image in images))
    facts = dict(zip(paths, index_images(paths, args.cache, args.threads), strict=True))
    lines, pairs = [], {}
    for role, source, image in images:
        found = facts[image.path]
        if not found.fault:
            pairs.setdefault(source.file, []).append(((found.width, found.height), (image.width, image.height)))
        sizes = f"{found.width} x {found.height}", f"{image.width} x {image.height}"
        if not found.fault and sizes[0] != sizes[1]:
            found = replace(found, fault=f"size_differs: {sizes[0]} pixels, its annotations are for {sizes[1]}")
        lines.append(IndexedImage(role, source.name, image.id, image.id_space, image.path, **asdict(found)))
    for file, sizes in pairs.items():
        if exchanged := exchanged_sizes(sizes):
            raise UserError(f"{file}: {exchanged}")
    if turned := [path for path, found in facts.items() if found.turned_in_place]:
        logging.warning(
            "%d images are turned by 180 degrees or mirrored by their EXIF data, which their size can't show; check "
            "that their boxes are for the upright image. The first is %s",
            len(turned),
            turned[0],
        )
    faulty = [line for line in lines if line.fault]
    for line in faulty[:20]:
        logging.warning("%s: %s", line.path, line.fault)
    logging.info("%d images, %d of them can't be used", len(lines), len(faulty))
    write_jsonl(args.output_index, map(asdict, lines), sealed=True)


if __name__ == "__main__":
    run(main)
