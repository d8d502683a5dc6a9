"""Download an archive: resumed after a break, retried, from mirrors in order, verified, renamed into place.

Example:
  python workflow/scripts/download_archive.py --url http://images.cocodataset.org/zips/val2017.zip \\
      --bytes 815585330 --md5 442b8da7639aecaf257c1dceb8ba8c80 --output_file downloads/coco_val2017.zip

Without a network, put the file at --output_file yourself: one with the right checksum is used as it is. Where nobody
published a checksum, that of the first download is written to --lock, and later downloads must match it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--url", required=True, help="where the archive is")
    arguments.add_argument("--mirror", nargs="*", default=[], metavar="URL", help="other places, tried in this order")
    arguments.add_argument("--bytes", type=int, metavar="N", help="its size, where known")
    arguments.add_argument("--md5", metavar="HEX", help="its MD5 checksum, where known")
    arguments.add_argument("--sha256", metavar="HEX", help="its SHA-256 checksum, where known")
    arguments.add_argument("--lock", type=Path, metavar="FILE", help="lock file of first downloads (JSON)")
    arguments.add_argument("--output_file", required=True, type=Path, metavar="FILE")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.download import Expected, download

    download([args.url, *args.mirror], args.output_file, Expected(args.bytes, args.md5, args.sha256), args.lock)


if __name__ == "__main__":
    run(main)
