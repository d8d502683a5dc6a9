"""Write the datasheet of a training file: its numbers (JSON), and a page with samples drawn in both frames (HTML).

Example:
  python workflow/scripts/render_datasheet.py --run results/miniature \\
      --output_page datasheet.html --output_numbers datasheet.json
"""

import argparse
from collections.abc import Sequence

from vision_r1.cli import add_run, parser, run, whole_number


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_run(arguments)
    arguments.add_argument("--samples", type=whole_number(0), default=24, help="samples to draw")
    arguments.add_argument("--output_page", required=True, metavar="FILE", help="HTML file to write")
    arguments.add_argument("--output_numbers", required=True, metavar="FILE", help="JSON file to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.places import licences
    from vision_r1.files import read_json, read_jsonl, write_json, write_text
    from vision_r1.report.datasheet import choose_overlays, describe, overlay
    from vision_r1.report.template import fill
    from vision_r1.run_folder import Run

    folder = Run.read(args.run)
    rows, title = read_jsonl(folder.train_file()), folder.config["report"]["title"]
    known = licences(folder.config, folder.trained_on)
    sheet = describe(rows, read_json(folder.curation()), read_json(folder.leaks), known)
    overlays = [overlay(row) for row in choose_overlays(rows, args.samples, folder.config["seed"])]
    write_text(args.output_page, fill("datasheet.html.j2", {"title": title, "sheet": sheet, "overlays": overlays}))
    write_json(args.output_numbers, sheet, sealed=True)


if __name__ == "__main__":
    run(main)
