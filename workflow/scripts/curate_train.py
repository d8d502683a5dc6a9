"""Curate the training file: one question about one image, with the objects that answer it, a line.

Example:
  python workflow/scripts/curate_train.py --dataset scenes_train scenes/annotations.json scenes/images \\
      --family qwen2_5_vl --min_pixels 784 --max_pixels 7840 --detection 1800 --grounding 900 --negative 300 \\
      --min_instances 1 --max_instances 30 --order shuffle --seed 0 --output train.jsonl --summary curation.json

The same arguments and files give the same bytes. Where fewer samples are possible than asked for, the
file holds what there is, and the summary and the log say so.
"""

import argparse
import logging
from collections.abc import Sequence

from vision_r1.cli import add_datasets, parser, run, whole_number


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_datasets(arguments, "ANNOTATIONS", "IMAGES")
    arguments.add_argument("--family", required=True, help="model family; it decides the frame of the answers")
    for name, text in {
        "min_pixels": "smaller images are enlarged to this many pixels",
        "max_pixels": "larger images are shrunk to this many pixels",
        "detection": "samples that ask for all categories at once",
        "grounding": "samples that ask for one category that is in the image",
        "negative": "samples that ask for one category that is not in the image",
        "min_instances": "fewest objects of a sample; negatives are exempt",
        "max_instances": "most objects of a sample",
        "seed": "seed of all that is drawn",
    }.items():
        arguments.add_argument(f"--{name}", type=whole_number(0), required=True, help=text)
    arguments.add_argument(
        "--order", choices=["shuffle", "instances"], required=True, help="by seed, or fewest objects first"
    )
    arguments.add_argument("--output", required=True, metavar="FILE", help="training file (JSONL) to write")
    arguments.add_argument("--summary", required=True, metavar="FILE", help="JSON file to write: counts and losses")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from dataclasses import fields

    from vision_r1.data.coco import check_images, read_all
    from vision_r1.data.curation import Recipe, curate
    from vision_r1.families import family
    from vision_r1.files import UserError, write_json, write_jsonl

    recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})
    datasets = read_all(args.dataset)
    rows, tally = curate(datasets, family(args.family), recipe)
    for task, counts in tally.samples.items():
        if counts["written"] < counts["asked"]:
            logging.warning("%s: %d samples asked for, %d possible", task, counts["asked"], counts["written"])
    if not rows:
        names = ", ".join(dataset.source for dataset in datasets)
        raise UserError(f"{names}: no sample can be made of them; objects: {dict(tally.objects)}")
    check_images({row["image"]: (row["width"], row["height"]) for row in rows})
    write_jsonl(args.output, rows)
    write_json(args.summary, tally.summary(recipe, family(args.family), datasets))
    logging.info("wrote %d samples to %s; objects: %s", len(rows), args.output, dict(tally.objects))


if __name__ == "__main__":
    run(main)
