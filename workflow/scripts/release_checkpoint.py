"""Write a trained checkpoint as a folder to hand on: model and processor unchanged, and a model card (README.md).

Its vision_r1.json says how to ask the model; predict_image.py reads it. The weights are hard links where the disk
allows it, so they take no room; the folder loads with plain transformers.

Example:
  python workflow/scripts/release_checkpoint.py --run results/miniature --checkpoint strict/grpo_stage2 \\
      --output_folder results/miniature/release/strict/grpo_stage2
"""

import argparse
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_r1.cli import add_presets, add_run, parser, run

EXAMPLES = 3  # labels in the model card's question


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_run(arguments)
    add_presets(arguments)
    arguments.add_argument("--checkpoint", required=True, metavar="NAME", help="its name in the run")
    arguments.add_argument("--output_folder", required=True, type=Path, metavar="DIR")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1 import asking
    from vision_r1.configuration import presets
    from vision_r1.data.places import licences
    from vision_r1.evaluation.compare import read_comparison
    from vision_r1.experiments import BASE, split_checkpoint
    from vision_r1.families import family
    from vision_r1.files import UserError, hash_folder, link_or_copy, read_json, read_jsonl, write_json, written_whole
    from vision_r1.model_folder import ASKING, LICENCES
    from vision_r1.processors import load_processor, prompt_text
    from vision_r1.prompts import Templates
    from vision_r1.report.card import Example, card
    from vision_r1.report.comparability import banner
    from vision_r1.run_folder import Run

    run = Run.read(args.run)
    model = run.model(args.checkpoint)
    if args.checkpoint == BASE:
        raise UserError(f"--checkpoint {BASE}: nothing was trained; give a trained one, or use {model} as it is")
    if args.output_folder.resolve().is_relative_to((run.folder / "models").resolve()):
        raise UserError(f"--output_folder {args.output_folder}: the run's own models are there; give another folder")
    if not list(model.glob("*.safetensors")):
        raise UserError(f"{model}: contains no .safetensors file; give the name of a trained checkpoint")
    licence_files, notices = (
        [path for path in sorted(run.model(BASE).glob(name)) if path.is_file()] for name in LICENCES
    )
    arm, _ = split_checkpoint(args.checkpoint)
    asked = asking.of_run(run.config)
    templates, labels = Templates.of(asked["templates"]), common_labels(read_jsonl(run.train_file(arm)))
    question = templates.ask("detection", labels)
    model_family = family(run.config["model"]["family"])
    processor = load_processor(model, model_family, asked["min_pixels"], asked["max_pixels"])
    text = card(
        args.checkpoint,
        run.config,
        read_json(run.training(args.checkpoint)),
        read_json(run.curation(arm)),
        read_comparison(run.comparison),
        licences(run.config, run.trained_on),
        labels,
        Example.of(prompt_text(processor, question, templates.system), question),
        [path.name for path in licence_files],
        banner(run.config, presets(args.config)),
    )
    files = [*licence_files, *notices, *(model / name for name in hash_folder(model))]
    with written_whole(args.output_folder, sealed=True) as folder:
        folder.mkdir()
        for path in files:
            # Only weights are linked: a small file that is edited here must not change the run's.
            copy = link_or_copy if path.suffix == ".safetensors" else shutil.copy2
            copy(path, folder / path.name)
        (folder / "README.md").write_text(text, encoding="utf-8")
        write_json(folder / ASKING, asked)


def common_labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the most common labels of the training data's objects, EXAMPLES at most, in the order of its questions."""
    named = [row for row in rows if row["task"] != "rec"] or rows  # an expression is not a category
    counts = Counter(item["label"] for row in named for item in row["objects"])
    common = [label for label, _ in counts.most_common(EXAMPLES)]
    listed = next((row["categories"] for row in named if {*common} <= {*row["categories"]}), common)
    return [label for label in listed if label in common]


if __name__ == "__main__":
    run(main)
