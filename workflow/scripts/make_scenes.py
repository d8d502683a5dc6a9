"""Draw synthetic scenes: PNG images and COCO-format annotations with exact boxes.

Example:
  python workflow/scripts/make_scenes.py --count 400 --seed 7 --world miniature --shift none \\
      --output_annotations scenes/annotations.json --output_images scenes/images

The same count, seed, world and shift give the same bytes. Worlds and shifts: see vision_r1/data/worlds.py.
"""

import argparse
import logging
from collections.abc import Sequence

from vision_r1.cli import parser, run, whole_number
from vision_r1.data.scenes import write_scenes
from vision_r1.data.worlds import SHIFTS, WORLDS


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=whole_number(1), required=True, help="number of scenes")
    arguments.add_argument(
        "--seed",
        type=whole_number(0),
        nargs="+",
        required=True,
        help="seed of all scenes, one number or several",
    )
    arguments.add_argument("--world", choices=list(WORLDS), default="miniature", help="what the scenes are made of")
    arguments.add_argument("--shift", choices=SHIFTS, default="none", help="domain shift")
    arguments.add_argument("--output_annotations", required=True, help="JSON file to write")
    arguments.add_argument("--output_images", required=True, help="folder to write; earlier scenes are replaced")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    write_scenes(
        WORLDS[args.world].styles[args.shift], args.count, args.seed, args.output_annotations, args.output_images
    )
    logging.info(
        "wrote %d scenes (shift %s, seed %s) to %s", args.count, args.shift, args.seed, args.output_annotations
    )


if __name__ == "__main__":
    run(main)
