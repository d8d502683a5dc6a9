"""Fetch the base model, or its processor alone: from the hub at a pinned commit, or from a folder; safetensors only.

A folder may be a snapshot in the hub's cache. Only the files that are needed are taken, links resolved. What can't be
trained (another family, quantised weights, a missing or cut shard, a Git LFS pointer, no tokenizer) is refused before
its weights are downloaded or copied.

Example: python workflow/scripts/fetch_model.py --source hub --id Qwen/Qwen2.5-VL-7B-Instruct
    --revision cc594898137f460bfe9f0759e9844b3ce807cfb5 --output_folder model \\
    --output_metrics metrics.json
"""

import argparse
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from vision_r1.cli import check_outputs, parser, run
from vision_r1.files import SEAL, UserError, hash_folder, link_or_copy, write_json, written_whole
from vision_r1.hub import fetch_model
from vision_r1.model_folder import SMALL_FILES, check_processor, check_weights, weight_files
from vision_r1.models import family_of


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--source", required=True, choices=["hub", "folder"])
    arguments.add_argument("--id", required=True, help="repository on the hub, or a folder")
    arguments.add_argument("--revision", help="commit of the repository, 40 hex digits")
    arguments.add_argument("--processor_only", action="store_true", help="tokenizer and settings, no weights")
    arguments.add_argument("--output_folder", required=True, type=Path, metavar="DIR", help="folder to write")
    arguments.add_argument("--output_metrics", metavar="FILE", help="JSON file to write: where the model came from")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.source == "hub":
        revision = fetch_model(args.id, args.revision, args.output_folder, args.processor_only)
    else:
        revision = args.revision
        from_folder(Path(args.id), args.output_folder, args.processor_only)
    if args.output_metrics:
        facts = {"stage": "base", "source": args.source, "id": args.id, "revision": revision}
        write_json(args.output_metrics, facts, sealed=True)


def from_folder(folder: Path, output: Path, processor_only: bool) -> None:
    """Copy a model's files to `output`; weights are hard links where the disk allows it."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; model.id names the folder of the base model")
    check_outputs({"--id": folder, "--output_folder": output})
    family_of(folder)
    check_processor(folder)
    weights = [] if processor_only else weight_files(folder)
    check_weights(folder, weights)
    files = [path.name for path in folder.iterdir() if path.is_file()]  # LICENSES may be a folder
    small = [file for file in files if any(fnmatch(file, name) for name in SMALL_FILES)]
    if (folder / SEAL).is_file():
        hash_folder(folder, [*small, *weights])
    with written_whole(output, sealed=True, shared=False) as partial:  # a link has the permissions of its source
        partial.mkdir()
        for name in [*small, *weights]:
            # Only weights are linked: a small file that is edited here must not change the folder's.
            copy = link_or_copy if name in weights else shutil.copy2
            copy((folder / name).resolve(), partial / name)  # what a link points to


if __name__ == "__main__":
    run(main)
