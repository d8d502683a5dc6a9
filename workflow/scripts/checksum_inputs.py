"""Write the checksums of what a run started from: base weights, training file, annotations, images, archives.

Images are hashed where they are indexed; a data set's checksum is the SHA-256 of its images' checksums, sorted.

Example:
  python workflow/scripts/checksum_inputs.py --file "training file" results/miniature/data/train.jsonl \\
      --weights results/miniature/models/base/model --index results/miniature/data/images.jsonl \\
      --output_json results/miniature/checksums.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    pair = {"nargs": 2, "action": "append", "default": []}
    arguments.add_argument("--file", **pair, metavar=("NAME", "FILE"), help="what a file is, and its path; repeat")
    arguments.add_argument(
        "--archive", **pair, metavar=("NAME", "MANIFEST"), help="an archive, and unpack_archive.py's manifest; repeat"
    )
    arguments.add_argument("--weights", required=True, type=Path, metavar="DIR", help="folder of the base model")
    arguments.add_argument("--index", required=True, metavar="FILE", help="images.jsonl of index_images.py")
    arguments.add_argument(
        "--output_json", required=True, metavar="FILE", help="JSON: a list of {name, files, bytes, sha256}"
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import UserError, file_hash, hash_folder, read_json, read_jsonl, write_json
    from vision_r1.report.provenance import of_images

    files = [(name, Path(file)) for name, file in args.file]
    hash_folder(args.weights)
    files += [(f"base weights, {path.name}", path) for path in sorted(args.weights.glob("*.safetensors"))]
    for name, path in files:
        if not path.is_file():
            raise UserError(f"{path}: no such file ({name})")
    found = [
        {"name": name, "files": 1, "bytes": path.stat().st_size, "sha256": file_hash(path)} for name, path in files
    ]
    for name, path in args.archive:
        manifest = read_json(path)
        found.append({"name": name, "files": 1, "bytes": manifest["bytes"], "sha256": manifest["sha256"]})
    write_json(args.output_json, found + of_images(read_jsonl(args.index)), sealed=True)


if __name__ == "__main__":
    run(main)
