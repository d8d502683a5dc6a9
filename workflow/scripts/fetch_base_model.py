"""Fetch the base model: from the hub at a pinned commit, or from a folder; safetensors only.

Example: python workflow/scripts/fetch_base_model.py --source hub --id Qwen/Qwen2.5-VL-7B-Instruct
    --revision cc594898137f460bfe9f0759e9844b3ce807cfb5 --output_model model --metrics metrics.json
"""

import os
import shutil
from pathlib import Path

from vision_r1.cli import parser, run
from vision_r1.files import UserError, link_or_copy, write_json
from vision_r1.hub import download

FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "LICENSE*"]


def parse_args(argv=None):
    arguments = parser(__doc__)
    arguments.add_argument("--source", required=True, choices=["hub", "folder"])
    arguments.add_argument("--id", required=True, help="repository on the hub, or a folder")
    arguments.add_argument("--revision", help="commit of the repository, 40 hex digits")
    arguments.add_argument("--output_model", required=True, type=Path)
    arguments.add_argument("--metrics", required=True, type=Path)
    return arguments.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    # One fixed name, kept after a break: a retry goes on with the files that are there.
    partial = args.output_model.with_name("download")
    if args.source == "hub":
        download(args.id, args.revision, partial, FILES)
    else:
        source = Path(args.id)
        if not source.is_dir():
            raise UserError(f"{source}: no such folder; model.id names the folder of the base model")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, copy_function=link_or_copy)
    if not list(partial.glob("*.safetensors")):
        raise UserError(f"{args.id}: holds no .safetensors file; other weight formats are not loaded")
    shutil.rmtree(args.output_model, ignore_errors=True)
    os.replace(partial, args.output_model)
    write_json(args.metrics, {"stage": "base", "source": args.source, "id": args.id, "revision": args.revision})


if __name__ == "__main__":
    run(main)
