"""Ask checkpoints about an image, or all images of a folder: boxes as JSON in original pixels, and drawn.

Examples:
  python workflow/scripts/predict_image.py --checkpoint results/miniature/release/strict/grpo_stage2 \\
      --image photo.jpg --ask "every raccoon" --output boxes.png
  python workflow/scripts/predict_image.py --checkpoint Qwen/Qwen2.5-VL-3B-Instruct \\
      --checkpoint results/paper/release/step_1/grpo_stage2 --image photos --ask "cat, dog" --output page.html

The question is put in the words that the checkpoint was trained with, and the image is resized as in its training: a
run's checkpoint finds both in its run, a release in its vision_r1.json. For any other checkpoint the processor's pixel
limits hold, and the words of Qwen2.5-VL's recipe, unless the flags below say otherwise. Images and answers are read by
the evaluation's own code, and answers are decoded greedily.

Standard output is a JSON list, one entry per image and checkpoint: {image, checkpoint, width, height,
boxes: [{box: [x1, y1, x2, y2], label}], answers: [{prompt, completion, verdict, truncated}]}.
"""

import argparse
import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vision_r1.cli import parser, run, whole_number
from vision_r1.files import UserError, is_one_line
from vision_r1.models import DTYPES

log = logging.getLogger(__name__)

BOX_DIGITS = 2  # decimals of a coordinate in pixels


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--checkpoint",
        action="append",
        required=True,
        metavar="DIR_OR_HUB_ID",
        help="model folder, or repository of the hub, with @COMMIT for a pinned one; repeat to compare",
    )
    arguments.add_argument("--image", required=True, type=Path, metavar="FILE_OR_DIR", help="an image, or a folder")
    arguments.add_argument(
        "--ask",
        action="append",
        required=True,
        metavar="TEXT",
        help='what to look for: "every raccoon" asks for one thing, "cat, dog" for a list of categories; repeat for '
        "several questions",
    )
    arguments.add_argument(
        "--task",
        choices=["detection", "grounding", "rec"],
        help="which template asks: for a list (detection), for one category (grounding), or for a phrase (rec); "
        "default: detection where --ask has a comma, else grounding",
    )
    arguments.add_argument(
        "--output",
        type=Path,
        metavar="FILE_OR_DIR",
        help="where to draw: page.html; or, for one checkpoint, an image file for one image and a folder for many",
    )
    arguments.add_argument("--min_pixels", type=whole_number(1), help="fewest pixels of an image as the model sees it")
    arguments.add_argument("--max_pixels", type=whole_number(1), help="most pixels of an image as the model sees it")
    arguments.add_argument("--max_new_tokens", type=whole_number(1), help="most tokens of an answer")
    arguments.add_argument("--templates", metavar="JSON", help="words of the questions, as in section templates")
    arguments.add_argument("--dtype", choices=DTYPES, help="number format; default: the run's, or bfloat16 on a GPU")
    arguments.add_argument("--batch_size", type=whole_number(1), default=8, help="questions at once (default: 8)")
    arguments.add_argument(
        "--downloads",
        type=Path,
        default=Path("results/downloads/models"),
        metavar="DIR",
        help="where models of the hub are kept (default: results/downloads/models)",
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.coco import CocoImage
    from vision_r1.data.images import load_image

    questions = [question(text, args.task) for text in args.ask]
    paths = find_images(args.image)
    targets = drawings(args.output, args.image, paths, args.checkpoint)
    images = []
    for number, path in enumerate(paths):  # decoded before a model is loaded: a damaged one shows at once
        images.append(CocoImage(number, str(path), *load_image(path).size, ()))
    answers = {name: answer(find_checkpoint(name, args.downloads), images, questions, args) for name in args.checkpoint}
    entries = [entry(name, image.path, answers[name]) for image in images for name in answers]
    # Printed first: they took the time, and the disk may be full.
    sys.stdout.write(json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    if args.output and not targets:
        from vision_r1.files import write_text
        from vision_r1.report.predictions_page import render

        write_text(args.output, render("; ".join(args.ask), answers))
    for path, target in targets.items():
        draw(path, [line for line in answers[args.checkpoint[0]] if line["file_name"] == str(path)], target)


def find_images(source: Path) -> list[Path]:
    """Return the image itself, or a folder's images (told by their suffix), sorted by name."""
    if not source.is_dir():
        return [source]
    from vision_r1.data.images import image_suffixes

    own = (path for path in source.iterdir() if not path.name.startswith("._"))  # macOS's notes about files
    found = sorted(path for path in own if path.suffix.lower() in image_suffixes() and path.is_file())
    if not found:
        raise UserError(f"--image {source}: no image in this folder")
    for path in found:
        if not is_one_line(path.name):
            raise UserError(f"--image {source}: {path.name!r} can't be written as UTF-8 in one line; rename the file")
    return found


def drawings(output: Path | None, source: Path, paths: Sequence[Path], checkpoints: Sequence[str]) -> dict[Path, Path]:
    """Return image -> file to draw it to; empty where a page or nothing is to be drawn."""
    if output is None or output.suffix.lower() in (".html", ".htm"):
        return {}
    if len(checkpoints) > 1:
        raise UserError(f"--output {output}: several checkpoints are shown side by side; give page.html")
    targets = {paths[0]: output}
    if source.is_dir():
        if output.suffix and not output.is_dir():
            raise UserError(f"--output {output}: many images are drawn to a folder, or to page.html")
        targets = {path: output / f"{path.name}.png" for path in paths}
    elif output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UserError(f"--output {output}: give a name that ends in .png, .jpg, .webp or .html")
    written = {target.resolve() for target in targets.values()} | {output.resolve()}
    if replaced := [path for path in (source, *paths) if path.resolve() in written]:
        raise UserError(f"--output {output}: would replace --image {replaced[0]}; give another name")
    return targets


def find_checkpoint(name: str, downloads: Path) -> Path:
    """Return a checkpoint's folder; a repository of the hub is downloaded once."""
    if Path(name).is_dir():
        return Path(name)
    repository, _, revision = name.partition("@")
    from vision_r1.hub import check_name, fetch_model

    try:
        check_name(repository)
    except UserError:
        raise UserError(f"--checkpoint {name}: neither a folder nor a repository of the hub (owner/name)") from None
    folder = downloads / name.replace("/", "--")
    if not folder.is_dir():
        log.info("%s: no such folder; downloading it from the hub to %s", name, folder)
        fetch_model(repository, revision or None, folder, once=True)
    return folder


def answer(
    checkpoint: Path, images: Sequence[Any], questions: Sequence[tuple[str, list[str]]], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return one checkpoint's answers to all questions about all images, as lines of a predictions file."""
    import torch

    from vision_r1 import asking
    from vision_r1.evaluation.generation import Generator
    from vision_r1.evaluation.predict import answer_at_once
    from vision_r1.evaluation.protocols import Protocol, Request
    from vision_r1.model_folder import check_processor, sealed_files
    from vision_r1.models import family_of

    sealed_files(checkpoint)
    family = family_of(checkpoint)
    check_processor(checkpoint)
    settings = asking.of_checkpoint(checkpoint)
    settings |= {name: getattr(args, name) for name in asking.KEYS if getattr(args, name) is not None}
    if not {"min_pixels", "max_pixels"} <= settings.keys():
        raise UserError(f"{checkpoint}: its processor sets no limits; give --min_pixels and --max_pixels")
    dtype = settings.pop("dtype", "bfloat16" if torch.cuda.is_available() else "float32")
    if dtype not in DTYPES:
        raise UserError(f"{checkpoint}: dtype {dtype!r}; give --dtype {' or '.join(DTYPES)}")
    protocol = Protocol.of(str(checkpoint), {"prompts": "per-category", **settings}, 0, 0)
    requests = []
    for task, names in questions:
        prompt = protocol.templates.ask(task, names)
        requests += [Request("", protocol, image, prompt, tuple(names)) for image in images]
    return answer_at_once(requests, family, Generator(checkpoint, family, dtype), args.batch_size)


def question(text: str, task: str | None = None) -> tuple[str, list[str]]:
    """Return the task that asks for a text, and the names in it: `every cat, dog` is a detection of cat and dog.

    Under a task that asks for one thing, the text is its one name.
    """
    from vision_r1.data.categories import SPECIAL_TOKEN  # imports numpy, without which --help is faster

    parts = text.split(",") if task in (None, "detection") else [text]
    names = [name for part in parts if (name := re.sub(r"^\s*every\b", "", part, flags=re.IGNORECASE).strip())]
    if not names:
        raise UserError(f"--ask {text!r}: say what to look for")
    for name in names:
        if SPECIAL_TOKEN.search(name) or not is_one_line(name):
            raise UserError(f"--ask {name!r}: a special token of the model, or not one line of text; name it otherwise")
    return task or ("detection" if len(names) > 1 else "grounding"), names


def draw(path: Path, lines: Sequence[dict[str, Any]], target: Path) -> None:
    """Draw the boxes of an image's lines on it, at its own size or as large as on a page."""
    from vision_r1.data.images import load_image
    from vision_r1.files import written_whole
    from vision_r1.report.drawing import SIDE, draw_boxes, palette
    from vision_r1.report.gallery import detections

    image = load_image(path)
    colours = palette(label for line in lines for label in line["categories"])
    drawn = draw_boxes(image, detections(lines), colours, max(SIDE, *image.size))
    with written_whole(target) as partial:
        try:
            drawn.save(partial, "JPEG" if target.suffix.lower() in (".jpg", ".jpeg") else target.suffix[1:].upper())
        except ValueError as error:  # WebP ends at 16,383 pixels a side
            raise UserError(
                f"{target}: {drawn.width} x {drawn.height} pixels can't be written ({error}); use .png"
            ) from None


def entry(checkpoint: str, path: str, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what one checkpoint says about one image, as standard output has it."""
    from vision_r1.parsing import parse
    from vision_r1.report.gallery import detections

    own = [line for line in lines if line["file_name"] == path]
    predicted = detections(own)
    boxes = predicted.boxes.round(BOX_DIGITS).tolist()
    return {
        "image": path,
        "checkpoint": checkpoint,
        **{key: own[0][key] for key in ("width", "height")},
        "boxes": [{"box": box, "label": label} for box, label in zip(boxes, predicted.labels, strict=True)],
        "answers": [
            {
                "prompt": line["prompt"],
                "completion": line["completion"],
                "verdict": str(parse(line["completion"], line["categories"]).verdict),
                "truncated": line["truncated"],
            }
            for line in own
        ],
    }


if __name__ == "__main__":
    run(main)
