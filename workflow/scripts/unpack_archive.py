"""Unpack a zip or tar archive into a folder of its own; the manifest is written last and so marks it as complete.

Example:
  python workflow/scripts/unpack_archive.py --archive downloads/coco_val2017.zip \\
      --output_folder downloads/coco_val2017 --output_manifest downloads/coco_val2017.json
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--archive", required=True, type=Path, metavar="FILE", help="zip or tar archive")
    arguments.add_argument(
        "--output_folder", required=True, type=Path, metavar="DIR", help="folder; what it unpacked before is replaced"
    )
    arguments.add_argument("--output_manifest", required=True, metavar="FILE", help="JSON file: checksum, files, bytes")
    arguments.add_argument("--max_bytes", type=int, default=200_000_000_000, help="most bytes to unpack")
    arguments.add_argument("--max_files", type=int, default=1_000_000, help="most files to unpack")
    arguments.add_argument("--content_sha256", metavar="HEX", help="the hash that its files must have, where known")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.archives import unpack
    from vision_r1.files import write_json

    manifest = unpack(args.archive, args.output_folder, args.max_bytes, args.max_files, args.content_sha256)
    write_json(args.output_manifest, manifest)
    logging.info("unpacked %d files, %d images, to %s", manifest["files"], manifest["images"], args.output_folder)


if __name__ == "__main__":
    run(main)
