"""Fetch the authors' released training set from the hub and unpack it: image files and a samples file (JSONL).

Example:
  python workflow/scripts/fetch_released_data.py --repository JefferyZhan/Vision-R1-Data --lock datasets.lock.json \\
      --output_images downloads/vision_r1_data/images --output_samples downloads/vision_r1_data/samples.jsonl

The first rows of the smallest file are checked before the others are downloaded. Without --revision, the newest commit
at the first download is written to --lock, and later downloads take that one.
With HF_HUB_OFFLINE=1, or to use a copy of your own, give its folder as --folder.
"""

import argparse
import glob
import logging
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import parser, run

FIRST_ROWS = 200  # checked before the whole download


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--repository", required=True, help="data set repository on the hub")
    arguments.add_argument("--revision", help="commit of the repository, 40 hex digits; default: the locked one")
    arguments.add_argument("--folder", type=Path, help="a folder with its Arrow or Parquet files, in place of the hub")
    arguments.add_argument("--lock", required=True, type=Path, metavar="FILE", help="lock file of first downloads")
    arguments.add_argument("--output_images", required=True, type=Path, metavar="DIR", help="folder to write")
    arguments.add_argument(
        "--output_samples", required=True, type=Path, metavar="FILE", help="samples file (JSONL) to write"
    )
    return arguments.parse_args(argv)


def fetch(repository: str, revision: str | None, folder: Path) -> tuple[str, list[str]]:
    """Check the first rows of a data set's smallest file, then download all; return (commit, file names)."""
    from vision_r1.data.released import check_rows, shards
    from vision_r1.files import UserError
    from vision_r1.hub import download, list_files

    revision, sizes = list_files(repository, revision, "dataset")
    wanted = shards(sizes)
    if not wanted:
        raise UserError(
            f"{repository} at {revision}: neither Arrow nor Parquet files among {', '.join(sorted(sizes)[:20])}"
        )
    smallest = min(wanted, key=lambda name: sizes[name])
    download(repository, revision, folder, [glob.escape(smallest)], "dataset")
    check_rows(folder / smallest, FIRST_ROWS)
    megabytes = sum(sizes[name] for name in wanted) // 10**6
    logging.info("%s is of the right form; fetching %d files, %d MB", smallest, len(wanted), megabytes)
    download(repository, revision, folder, [glob.escape(name) for name in wanted], "dataset")
    return revision, wanted


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    import msgspec

    from vision_r1.data.lock_file import locked, record
    from vision_r1.data.released import read_released, shards
    from vision_r1.files import check_replaceable, write_jsonl, written_whole

    check_replaceable(args.output_images, args.output_samples)
    folder = args.folder
    if folder is None:
        folder = args.output_samples.with_name("download")
        revision = args.revision or locked(args.lock, "repositories", args.repository).get("revision")
        # Not everything in the folder: another revision may have left shards.
        revision, wanted = fetch(args.repository, revision, folder)
        files = [folder / name for name in wanted]
        record(args.lock, "repositories", args.repository, {"revision": revision})
    else:
        files = [Path(file) for file in shards(str(file) for file in folder.rglob("*"))]
    with written_whole(args.output_images) as partial:
        partial.mkdir(parents=True)
        samples = [msgspec.to_builtins(sample) for sample in read_released(files, partial)]
        logging.info("%d questions about %d images", len(samples), len(list(partial.iterdir())))
    write_jsonl(args.output_samples, samples)


if __name__ == "__main__":
    run(main)
