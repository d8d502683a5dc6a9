"""Fetch or make the base model's processor alone: tokenizer, chat template and image settings, no weights.

Example: python workflow/scripts/fetch_processor.py --source hub --id Qwen/Qwen2.5-VL-7B-Instruct
    --revision cc594898137f460bfe9f0759e9844b3ce807cfb5 --output processor
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import parser, run

FILES = ["*config*.json", "*token*.json", "*.txt", "*.jinja", "chat_template.json"]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--source", required=True, choices=["made", "hub", "folder"])
    arguments.add_argument("--id", help="repository on the hub, or a folder")
    arguments.add_argument("--revision", help="commit of the repository, 40 hex digits")
    arguments.add_argument("--world", default="miniature", help="made scenes that a made processor is for")
    arguments.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import written_whole
    from vision_r1.hub import download

    with written_whole(args.output) as partial:
        if args.source == "hub":
            download(args.id, args.revision, partial, FILES)
        elif args.source == "folder":
            shutil.copytree(args.id, partial, ignore=shutil.ignore_patterns("*.safetensors*", ".*"))
        else:
            from vision_r1.data.worlds import WORLDS
            from vision_r1.miniature.processor import make_processor

            make_processor(WORLDS[args.world]).save_pretrained(partial)


if __name__ == "__main__":
    run(main)
