"""Find training images that are in a benchmark: by id, by content, and near-duplicates, confirmed by their pixels.

Example: python workflow/scripts/find_leaks.py --index images.jsonl --output_json leaks.json
"""

import argparse
import logging
from collections.abc import Sequence

from vision_r1.cli import parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--index", required=True, metavar="FILE", help="index of index_images.py")
    arguments.add_argument(
        "--output_json", required=True, metavar="FILE", help="JSON file to write: leaks and statistics"
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from dataclasses import asdict

    from vision_r1.data.image_index import read_index
    from vision_r1.data.leakage import find_leaks
    from vision_r1.files import write_json

    leaks, statistics = find_leaks(read_index(args.index))
    write_json(args.output_json, {**statistics, "images": [asdict(leak) for leak in leaks]}, sealed=True)
    logging.info("%d training images are in a benchmark: %s", len(leaks), statistics["leaks"])


if __name__ == "__main__":
    run(main)
