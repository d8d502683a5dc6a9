"""What all programs share: help text, logging, and one clear line for a user's mistake."""

import argparse
import io
import logging
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vision_r1.files import UserError, check_place
from vision_r1.text import visible

_PLACE = re.compile("^output|FILE|DIR|PATH|ANNOTATIONS|MANIFEST")  # in the metavar of what names a file or folder


class _Parser(argparse.ArgumentParser):
    """A parser that refuses outputs in place of inputs."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed = super().parse_args(args, namespace)
        actions = [one for one in self._actions if one.type is Path or _PLACE.search(f"{one.dest} {one.metavar}")]
        values = {(action.option_strings or [action.dest])[0]: getattr(parsed, action.dest) for action in actions}
        check_outputs(values)
        for action, (flag, value) in zip(actions, values.items(), strict=True):
            for path in map(Path, _paths(value) if _is_output(flag) else ()):
                if action.metavar == "FILE" and path.is_dir() or action.metavar == "DIR" and path.is_file():
                    raise UserError(f"{flag} {path}: is a {'folder' if path.is_dir() else 'file'}; give another name")
        return parsed


def parser(docstring: str) -> argparse.ArgumentParser:
    """Return an argument parser whose help is the program's own docstring; see check_outputs."""
    return _Parser(
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_datasets(arguments: argparse.ArgumentParser, *places: str) -> None:
    """Add --dataset, repeatable: a data set's name and its `places`, such as ANNOTATIONS and IMAGES."""
    arguments.add_argument(
        "--dataset",
        nargs=1 + len(places),
        action="append",
        required=True,
        metavar=("NAME", *places),
        help="a data set in COCO format: its name, annotation file and, as shown, image folder; repeat",
    )


def add_sources(arguments: argparse.ArgumentParser, flag: str = "--source", required: bool = False) -> None:
    """Add a flag, repeatable, that names a source: kind, name, file, image folder, for some kinds a second file."""
    arguments.add_argument(
        flag,
        nargs="+",
        action="append",
        default=[],
        required=required,
        metavar=("KIND", "NAME FILE IMAGES"),
        help="kind (coco, expressions, regions, references or samples: see vision_r1/data/sources.py), name, file, "
        "image folder and, for regions and references, second file; repeat",
    )


def add_id_spaces(arguments: argparse.ArgumentParser) -> None:
    """Add --id_space, repeatable: sources of one id space number the same images alike."""
    arguments.add_argument(
        "--id_space", nargs=2, action="append", default=[], metavar=("NAME", "SPACE"), help="numbering of its image ids"
    )


def add_run(arguments: argparse.ArgumentParser) -> None:
    """Add --run: the program reads what the configuration of that run names."""
    arguments.add_argument("--run", required=True, metavar="DIR", help="the run's folder, results/<run>")


def add_presets(arguments: argparse.ArgumentParser) -> None:
    """Add --config: the folder with what others published, and the presets of their recipes."""
    arguments.add_argument(
        "--config",
        default="config",
        metavar="DIR",
        help="folder with published.yaml and the published recipes' presets (default: config)",
    )


def add_scoring(arguments: argparse.ArgumentParser) -> None:
    """Add --score_policy and --resamples."""
    arguments.add_argument(
        "--score_policy",
        default="constant",
        help="where the headline's scores come from: constant, order or token-probability; all are reported",
    )
    arguments.add_argument(
        "--resamples",
        type=whole_number(1, 1_000_000),
        default=1000,
        help="bootstrap resamples of the images (default: 1000)",
    )


def add_templates(arguments: argparse.ArgumentParser) -> None:
    """Add --templates: the words of prompts and answers, DEFAULT where it is not given."""
    from vision_r1.prompts import DEFAULT, Templates  # imports numpy, without which --help is faster

    arguments.add_argument(
        "--templates",
        type=Templates.of,
        default=DEFAULT,
        metavar="JSON",
        help="words of prompts and answers, all keys of configuration section templates; default: Qwen2.5-VL's",
    )


def add_names(arguments: argparse.ArgumentParser) -> None:
    """Add --names: categories that the miniature's tokenizer has as one token each, besides those of the scenes."""
    arguments.add_argument(
        "--names", nargs="*", default=[], metavar="NAME", help="more categories that are one token each (base.names)"
    )


def check_outputs(arguments: Mapping[str, Any]) -> None:
    """Raise UserError where an output can't be written, or is what another argument names, or a folder that holds it,
    which would be lost.

    arguments: by flag, the values that name files and folders. Outputs are those of `--output_...`, and of `output`
    where it has no dashes.
    """
    named = [(flag, path, Path(os.path.realpath(path))) for flag, value in arguments.items() for path in _paths(value)]
    for flag, output, written in named:
        if _is_output(flag):
            check_place(output)
            for other, path, read in named:
                if other != flag and read.is_relative_to(written) and os.path.exists(read):
                    raise UserError(f"{flag} {output}: would replace {other} {path}; give another name")


def _is_output(flag: str) -> bool:
    return flag.startswith(("--output_", "output"))


def _paths(value: Any) -> Iterator[str | Path]:
    """Yield the texts and paths of an argument's value, which may be a list of lists."""
    if isinstance(value, (str, Path)):
        yield from [value] if str(value) else []
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _paths(each)


def whole_number(minimum: int, maximum: int = 2**32 - 1) -> Callable[[str], int]:
    """Return an argument type: whole numbers from `minimum` to `maximum`."""

    def convert(text: str) -> int:
        number = int(text) if text.lstrip("-").isdecimal() else None
        if number is None or number < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        if number > maximum:
            raise argparse.ArgumentTypeError(f"{text} is too large; give at most {maximum:,}")
        return number

    return convert


def figure(text: str) -> str:
    """Argument type: a path that ends in .svg or .png."""
    if not text.endswith((".svg", ".png")):
        raise argparse.ArgumentTypeError(f"{text!r}: give a path that ends in .svg or .png")
    return text


def share(text: str) -> float:
    """Argument type: a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1, such as 0.2")
    return number


def _shown(text: str) -> str:
    """Return a text for the terminal, which would obey control characters in foreign file names."""
    return visible(text, keep="\n\t")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _shown(super().format(record))


def run(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> None:
    """Run a program's `main`: log to standard error, and end with one line where the user can fix what went wrong.

    That is a UserError, a refusing file system, or a package that is not installed.
    """
    rank = os.environ.get("RANK", "0")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(f"%(asctime)s rank {rank} %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO if rank == "0" else logging.WARNING, handlers=[handler])
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks would be an error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main(argv)
    except (UserError, OSError) as error:
        sys.exit(f"error: {_shown(str(error))}")
    except sqlite3.DatabaseError as error:
        remedies = {"locked": "another run uses it; wait", "readonly": "let it be written, or give another --cache"}
        found = (remedy for word, remedy in remedies.items() if word in str(error))
        remedy = next(found, "make room, or delete it: it will be rebuilt")
        sys.exit(f"error: the image cache: {error}; {remedy}")
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == "vision_r1" or find_spec(package):  # our bug, or a changed package: show a traceback
            raise
        sys.exit(
            f"error: package {package} is not installed; install requirements.txt, or vision-r1[pipeline] "
            "(for score_predictions alone, vision-r1[scoring])"
        )
