"""Curate the training file: each line is one question about one image, with the objects that answer it.

Example:
  python workflow/scripts/curate_train.py --source coco scenes_train scenes/annotations.json scenes/images \\
      --index images.jsonl --leaks leaks.json --processor models/processor --family qwen2_5_vl \\
      --min_pixels 784 --max_pixels 7840 --detection 1800 --grounding 900 --negative 300 --hard_instances 10 \\
      --min_per_category 100 --min_instances 1 --max_instances 30 --held_out 0.03 --order shuffle --seed 0 \\
      --output_train train.jsonl --output_summary curation.json \\
      --output_selection selection.json

A task's samples are drawn from all sources; `--grounding 900 one two --grounding 80 three` splits them by source.
The same arguments and files give the same bytes. Where fewer samples are possible than asked for, the file holds all
of those, and the summary and the log say so.
"""

import argparse
import gc
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vision_r1.cli import add_id_spaces, add_sources, add_templates, parser, run, share, whole_number

if TYPE_CHECKING:
    from vision_r1.data.mixture import Draw
    from vision_r1.data.sources import Source


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_sources(arguments, required=True)
    add_id_spaces(arguments)
    arguments.add_argument("--index", required=True, metavar="FILE", help="image index of index_images.py")
    arguments.add_argument("--leaks", required=True, metavar="FILE", help="leaks found by find_leaks.py")
    arguments.add_argument("--processor", required=True, metavar="DIR", help="folder with the model's processor")
    add_templates(arguments)
    arguments.add_argument("--family", required=True, help="model family; it decides the frame of the answers")
    for name, text in {
        "min_pixels": "smaller images are enlarged to this many pixels",
        "max_pixels": "larger images are shrunk to this many pixels",
        "min_per_category": "samples that every category gets in each draw before the rest is drawn",
        "hard_instances": "detection samples with more objects are hard",
        "min_instances": "fewest objects of a sample; negatives are exempt",
        "max_instances": "most objects of a sample",
        "seed": "seed of all that is drawn",
    }.items():
        arguments.add_argument(f"--{name}", type=whole_number(0), required=True, help=text)
    for task, text in {
        "detection": "samples that ask for all categories at once",
        "grounding": "samples that ask for all objects of one category",
        "negative": "samples that ask for something that is not in the image",
        "rec": "samples that ask for what a phrase refers to",
    }.items():
        arguments.add_argument(
            f"--{task}",
            nargs="+",
            action="append",
            default=[],
            metavar=("COUNT", "SOURCE"),
            help=f"{text}, and the sources to draw them from, default: all; repeat",
        )
    arguments.add_argument(
        "--hard_share", type=share, help="share of hard detection samples, or all that there are if fewer"
    )
    arguments.add_argument(
        "--note", action="append", default=[], metavar="TEXT", help="what a reader of the datasheet has to know; repeat"
    )
    arguments.add_argument(
        "--held_out", type=share, required=True, help="share of the images kept from training, for the selection split"
    )
    arguments.add_argument(
        "--hold_out_from", nargs="+", default=(), metavar="SOURCE", help="sources to hold out from; default: all"
    )
    arguments.add_argument(
        "--answer_pixels",
        type=whole_number(1),
        help="right answers count in pixels of an image shrunk to this many; default: of the model's input",
    )
    for name in ("prompt", "answer"):
        arguments.add_argument(
            f"--max_{name}_tokens",
            type=whole_number(1),
            help=f"samples with a longer {name} are dropped; default: none",
        )
    arguments.add_argument(
        "--order", choices=["shuffle", "instances"], required=True, help="shuffled by seed, or fewest objects first"
    )
    arguments.add_argument("--output_train", required=True, metavar="FILE", help="training file (JSONL) to write")
    arguments.add_argument(
        "--output_summary", required=True, metavar="FILE", help="JSON file to write: what was read, kept and dropped"
    )
    arguments.add_argument(
        "--output_selection", required=True, metavar="FILE", help="held-out images (COCO format) to write"
    )
    return arguments.parse_args(argv)


def read_draw(task: str, words: Sequence[str], sources: Sequence["Source"]) -> "Draw":
    """Read `900 one two`: how many samples, and the names of their sources."""
    from vision_r1.data.mixture import Draw
    from vision_r1.files import UserError

    count, *names = words
    if not count.isdecimal():
        raise UserError(f"--{task} {count}: not a whole number of samples")
    if unknown := sorted(set(names) - {source.name for source in sources}):
        raise UserError(f"--{task} {' '.join(words)}: {unknown[0]!r} is not a --source")
    return Draw(task, int(count), tuple(names))


def in_words(what: str, counts: Mapping[str, int]) -> str:
    """Return `read 3,000 images (4 unreadable, 8 in benchmark)`."""
    others = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if name != "read")
    return f"read {counts['read']:,} {what}" + (f" ({others})" if others else "")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from dataclasses import fields

    from vision_r1.data.curation import Recipe, curate, summarise
    from vision_r1.data.image_index import check_all_indexed, read_index
    from vision_r1.data.leakage import read_leaks, refused_images
    from vision_r1.data.mixture import TASKS
    from vision_r1.data.selection import selection_as_coco
    from vision_r1.data.sources import read_sources
    from vision_r1.data.tokens import ProcessorTokens
    from vision_r1.families import family
    from vision_r1.files import UserError, write_json, write_jsonl
    from vision_r1.processors import load_processor

    model_family = family(args.family)
    sources = read_sources(args.source, args.id_space)
    draws = tuple(read_draw(task, words, sources) for task in TASKS for words in getattr(args, task))
    if unknown := sorted(set(args.hold_out_from) - {source.name for source in sources}):
        raise UserError(f"--hold_out_from: {unknown[0]!r} is not a --source")
    values = vars(args) | {"draws": draws, "hold_out_from": tuple(args.hold_out_from)}
    recipe = Recipe(**{field.name: values[field.name] for field in fields(Recipe)})
    tokens = ProcessorTokens(load_processor(args.processor, model_family, args.min_pixels, args.max_pixels))
    index = read_index(args.index)
    check_all_indexed(args.index, index, (image.path for source in sources for image in source.images()))
    refused = refused_images(index, read_leaks(args.leaks))
    rows, tally, held_out = curate(sources, model_family, recipe, refused, tokens, args.templates)
    for note in args.note:
        logging.warning(note)
    for task, counts in tally.samples.items():
        if counts["written"] < counts["asked"]:
            logging.warning("%s: %d samples asked for, %d possible", task, counts["asked"], counts["written"])
    if not rows:
        names = ", ".join(source.file for source in sources)
        raise UserError(
            f"{names}: no sample can be made of them; images {dict(tally.images)}, boxes {dict(tally.objects)}"
        )
    # A training file is another one when its images are, though their names and labels are the same.
    contents = {image.path: image.sha256 for image in index}
    for row in rows:
        row["sha256"] = contents[row["image"]]
    write_jsonl(args.output_train, rows, sealed=True)
    write_json(args.output_selection, selection_as_coco(held_out))
    summary = {**summarise(tally, recipe, model_family, sources), "notes": args.note}
    write_json(args.output_summary, summary, sealed=True)
    logging.info(
        "wrote %d samples to %s; %s; %s",
        len(rows),
        args.output_train,
        in_words("images", tally.images),
        in_words("boxes", tally.objects),
    )


if __name__ == "__main__":
    gc.disable()  # what is read is kept to the end; the collector would walk a million boxes again and again
    run(main)
