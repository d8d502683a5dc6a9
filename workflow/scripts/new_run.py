"""Write the configuration of a run on your own data: training set, test set, limits, and the report's texts.

Examples:
  python workflow/scripts/new_run.py --name raccoons --annotations Annotations --images JPEGImages
  python workflow/scripts/new_run.py --name mine --annotations train.json --images train \\
      --test_annotations test.json --test_images test --over config/paper.yaml config/lora_24gb.yaml
  python workflow/scripts/new_run.py --name mine --annotations data.yaml --images train/images \\
      --test_images val/images --over config/paper.yaml config/lora_24gb.yaml --model /models/Qwen2.5-VL-7B-Instruct

Annotations are in COCO, VOC, YOLO or CSV form (docs/data.md). Without --test_images, images drawn by --seed are
the test set: both parts are written as COCO files into a folder beside the configuration. The last lines printed say
how to start the run. Nothing is overwritten.

The base model is the miniature, for a trial on a CPU, or that of the files in --over, which also say what machine it is
for (docs/configurations.md); --model takes another one in its place.
"""

import argparse
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision_r1.cli import parser, run, share, whole_number

if TYPE_CHECKING:
    from vision_r1.own.data import Part

ROOT = Path(__file__).resolve().parents[2]
MINIATURE = "miniature"
MINIATURE_ROOM = 256  # tokens per answer: long answers are slow on a CPU


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--name", required=True, help="name of the run: lower-case letters, digits and _")
    arguments.add_argument("--annotations", required=True, type=Path, metavar="PATH", help="file or folder of labels")
    arguments.add_argument("--images", required=True, type=Path, metavar="DIR", help="folder with the images")
    arguments.add_argument(
        "--format", choices=["coco", "voc", "yolo", "csv"], help="form of the annotations; default: told by the name"
    )
    arguments.add_argument(
        "--test_annotations", type=Path, metavar="PATH", help="labels of the test set; default: --annotations"
    )
    arguments.add_argument("--test_images", type=Path, metavar="DIR", help="test images; default: a share of --images")
    arguments.add_argument(
        "--test_share", type=share, default=0.2, help="without --test_images, share to test on (default: 0.2)"
    )
    arguments.add_argument("--seed", type=whole_number(0), default=0, help="seed of that split (default: 0)")
    arguments.add_argument(
        "--over", nargs="+", default=[], metavar="FILE", help="configurations that the run is laid over"
    )
    arguments.add_argument(
        "--model",
        metavar="MODEL",
        help="miniature; a folder; or a repository of the hub, as NAME or NAME@COMMIT. Default: that of --over, else "
        "miniature",
    )
    arguments.add_argument(
        "--output_config", type=Path, metavar="FILE", help="file to write (default: config/<name>.yaml)"
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1 import configuration
    from vision_r1.experiments import BASE, SFT, merge
    from vision_r1.files import UserError

    if not re.fullmatch("[a-z0-9_]{1,60}", args.name):
        raise UserError(f"--name {args.name}: at most 60 lower-case letters, digits and _ only")
    output = args.output_config or Path("config") / f"{args.name}.yaml"
    if output.suffix not in (".yaml", ".yml"):
        raise UserError(f"--output_config {output}: give a name that ends in .yaml")
    folder = output.with_suffix("")
    if args.test_annotations and not args.test_images:
        raise UserError("--test_annotations: give the folder of its images, too, as --test_images")
    default = [ROOT / file for file in configuration.DEFAULT]
    configuration.check_sections(map(Path, args.over), configuration.read_schema(ROOT / "config"))
    configuration.check_overlays(map(Path, args.over), configuration.load(default)["recipe"])
    config = configuration.load([*default, *args.over])
    known = {BASE, SFT, *config["datasets"], *config["evaluation"]["suites"], *config["experiments"]}
    if taken := {args.name, f"{args.name}_train", f"{args.name}_test"} & known:
        raise UserError(f"--name {args.name}: {min(taken)!r} already names a data set, suite, experiment or checkpoint")
    for path in (output, folder):
        if path.exists():
            raise UserError(
                f"{path}: exists already; move it elsewhere to write it anew, or give another --name or --output_config"
            )
    for file in (*sorted((ROOT / "config").glob("*.yaml")), *args.over):
        if configuration.load([file]).get("run") == args.name:
            raise UserError(
                f"--name {args.name}: {file} has a run of this name, and they would share results/{args.name}; give "
                "another name, or move that file out of the folder"
            )
    if (results := Path("results") / args.name).exists():
        logging.warning("%s: exists already; what the new configuration makes in the same way is used again", results)
    config = merge(config, {"model": chosen_model(args.model, args.over, config["model"])})
    try:
        command = write_run(args, config, output, folder)
    except BaseException:  # an interruption, too: parts without a configuration would block the next call
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sys.stdout.write(f"{output} is written: read it, then\n  {command} -- preflight\n  {command}\n")


def write_run(args: argparse.Namespace, config: dict[str, Any], output: Path, folder: Path) -> str:
    """Write the configuration, and the parts of a split, or of a test set with images missing, to `folder`.

    Returns the command that starts the run.

    config: what the run is laid over, with its model.
    """
    from vision_r1 import configuration, safe_yaml
    from vision_r1.data.worlds import WORLDS
    from vision_r1.experiments import merge
    from vision_r1.files import write_text
    from vision_r1.objectives import completion_length
    from vision_r1.own.data import form_of, numbers, read_part, split, write_part
    from vision_r1.own.limits import answer_counter, limits_of
    from vision_r1.own.overlay import overlay

    form = args.format or form_of(args.annotations)
    train = read_part(f"{args.name}_train", form, *map(place, (args.annotations, args.images)))
    check_boxes(train, args.annotations)
    if args.test_images:
        annotations = args.test_annotations or args.annotations
        test_form = args.format or form_of(annotations)
        test = read_part(f"{args.name}_test", test_form, *map(place, (annotations, args.test_images)))
        check_boxes(test, annotations)
        check_common_images(train, test)
        if test.missing:  # a prediction refuses a test set that is not whole
            test = write_part(test, test.coco.images, place(folder / "test.json"))
        origin = "The test set was given."
    else:
        chosen = split(train, args.test_share, args.seed)
        parts = [
            write_part(train, own, place(folder / f"{each}.json"))
            for own, each in zip(chosen, ("train", "test"), strict=True)
        ]
        for part in parts:
            check_boxes(part, args.annotations, "draw others with --seed or --test_share, or give --test_images")
        origin = (
            f"{len(chosen[1])} of {sum(map(len, chosen))} images are the test set, chosen by seed {args.seed} alone; "
            "they are not trained on."
        )
        train, test = parts
    of_train, of_test = numbers(train), numbers(test)
    for label in sorted({*of_test["categories"]} - {*of_train["categories"]}):
        logging.warning("category %r is in the test set only: nothing is learned about it", label)
    if config["model"]["source"] == "made":
        known = WORLDS[config["base"]["world"]].plain.categories
        names = sorted({*of_train["categories"], *of_test["categories"]} - {*known})
        # One that begins like a flag stays in letters.
        config = merge(config, {"base": {"names": [name for name in names if not name.startswith("-")]}})
    processor, counted = tokenizer_of(config)
    room = MINIATURE_ROOM if config["model"]["source"] == "made" else completion_length(config["grpo"])
    limits = limits_of(config, train, of_train, answer_counter(config, processor), room)
    snakefile = [] if Path("Snakefile").exists() else ["--snakefile", str(ROOT / "Snakefile")]
    command = shlex.join(["snakemake", "--cores", "all", *snakefile, "--configfile", *args.over, str(place(output))])
    text = overlay(args.name, command, config, (train, of_train), (test, of_test), origin, limits, counted)
    configuration.check(merge(config, safe_yaml.load(text)), configuration.read_schema(ROOT / "config"))
    write_text(output, text)
    return command


def check_boxes(part: "Part", annotations: Path, remedy: str = "are these the labels of these images?") -> None:
    """Raise UserError, naming the user's annotations and the remedy, where a part has no boxes but crowds'."""
    from vision_r1.files import UserError

    images = part.coco.images
    if all(item.crowd for image in images for item in image.objects):
        raise UserError(f"{annotations}: no boxes in the {len(images)} images of {part.coco.name}; {remedy}")


def check_common_images(train: "Part", test: "Part") -> None:
    """Warn of test images that are training images, too. Raises UserError where nothing would be left to train on."""
    from vision_r1.files import UserError

    trained, tested = ({Path(image.path).resolve() for image in part.coco.images} for part in (train, test))
    if trained <= tested:
        raise UserError(
            f"--test_images {test.images}: all training images are in the test set; leave it out, and a share of the "
            "images becomes the test set"
        )
    if common := len(trained & tested):
        logging.warning("%d test images are training images, too: they will be kept out of training", common)


def place(path: Path) -> Path:
    """Return a path as a configuration has it: relative to the clone in which this program runs, else absolute."""
    whole = Path(os.path.abspath(path))
    return whole.relative_to(ROOT) if Path.cwd() == ROOT and whole.is_relative_to(ROOT) else whole


def chosen_model(model: str | None, over: Sequence[str], known: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of section model that --model decides; known: those of --over."""
    from vision_r1.files import UserError
    from vision_r1.hub import check_name, list_files
    from vision_r1.models import family_of

    if model == MINIATURE and over:
        raise UserError("--model miniature: leave --over out; the default configuration is the miniature's")
    if model in (None, MINIATURE):
        return {} if over else {"source": "made", "id": None, "revision": None}
    if not over:
        raise UserError(
            f"--model {model}: give --over, the configurations that say how it is trained on which machine, e.g. "
            "config/paper.yaml config/lora_24gb.yaml (docs/configurations.md)"
        )
    if Path(model).is_dir():
        return {"family": family_of(model).name, "source": "folder", "id": str(place(Path(model))), "revision": None}
    name, _, revision = model.partition("@")
    if not revision and name == known["id"]:
        return {}
    try:
        check_name(name)
    except UserError:
        raise UserError(f"--model {model}: neither a folder nor a repository of the hub (owner/name)") from None
    return {"source": "hub", "id": name, "revision": revision or list_files(name, None)[0]}


def tokenizer_of(config: dict[str, Any]) -> tuple[Any, str]:
    """Return the base model's processor (None where it is on the hub), and in words how tokens are counted."""
    from vision_r1.families import family
    from vision_r1.miniature.processor import made_processor
    from vision_r1.processors import load_processor

    model = config["model"]
    if model["source"] == "hub":
        return None, "at most, with Qwen's vocabulary; the model's own counts in training"
    if model["source"] == "folder":
        loaded = load_processor(model["id"], family(model["family"]), model["min_pixels"], model["max_pixels"])
        return loaded, "by the model's tokenizer"
    return made_processor(config), "by the miniature's tokenizer, which knows few words"


if __name__ == "__main__":
    run(main)
