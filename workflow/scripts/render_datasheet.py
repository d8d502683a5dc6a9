"""Write the datasheet of a training file: its numbers (JSON), and a page with samples drawn in both frames (HTML).

Example:
  python workflow/scripts/render_datasheet.py --train_file train.jsonl --curation curation.json --leaks leaks.json \\
      --licence coco_train2017 "CC BY 4.0" --title "Vision-R1" --seed 0 --output datasheet.html --numbers datasheet.json
"""

import argparse
from collections.abc import Sequence

from vision_r1.cli import parser, run, whole_number


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--train_file", required=True, metavar="FILE", help="training file of curate_train.py")
    arguments.add_argument("--curation", required=True, metavar="FILE", help="summary of curate_train.py")
    arguments.add_argument("--leaks", required=True, metavar="FILE", help="leaks of find_leaks.py")
    arguments.add_argument(
        "--licence", nargs=2, action="append", default=[], metavar=("SOURCE", "TEXT"), help="its licence; repeat"
    )
    arguments.add_argument("--title", required=True, help="heading of the page")
    arguments.add_argument("--samples", type=whole_number(0), default=24, help="samples to draw")
    arguments.add_argument("--seed", type=whole_number(0), required=True, help="seed of their choice")
    arguments.add_argument("--output", required=True, metavar="FILE", help="HTML file to write")
    arguments.add_argument("--numbers", required=True, metavar="FILE", help="JSON file to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import read_json, read_jsonl, write_json, write_text
    from vision_r1.report.datasheet import choose_overlays, describe, overlay
    from vision_r1.report.template import fill

    rows = read_jsonl(args.train_file)
    sheet = describe(rows, read_json(args.curation), read_json(args.leaks), dict(args.licence))
    overlays = [overlay(row) for row in choose_overlays(rows, args.samples, args.seed)]
    write_text(args.output, fill("datasheet.html.j2", {"title": args.title, "sheet": sheet, "overlays": overlays}))
    write_json(args.numbers, sheet)


if __name__ == "__main__":
    run(main)
