"""Make the miniature's processor alone, which curation needs to count tokens; make_base_model.py writes the same.

Example: python workflow/scripts/make_processor.py --world miniature --output_folder processor
"""

import argparse
from collections.abc import Sequence

from vision_r1.cli import add_names, add_templates, parser, run
from vision_r1.data.worlds import WORLDS


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--world", choices=list(WORLDS), default="miniature", help="synthetic scenes that it is for")
    add_templates(arguments)
    add_names(arguments)
    arguments.add_argument("--output_folder", required=True, metavar="DIR", help="folder to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import written_whole
    from vision_r1.miniature.processor import make_processor

    with written_whole(args.output_folder, sealed=True) as partial:
        make_processor(WORLDS[args.world], args.templates, args.names).save_pretrained(partial)


if __name__ == "__main__":
    run(main)
