"""The training file (one JSON row per line) as TRL wants it: conversational prompts with one image each.

Images are columns of paths and are decoded when a batch asks for them, so memory doesn't grow with the data.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision_r1.data.images import upright_size
from vision_r1.data.tokens import ProcessorTokens, token_lengths
from vision_r1.families import Family
from vision_r1.files import UserError, read_jsonl
from vision_r1.frames import Frame
from vision_r1.ground_truth import ground_truth

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import ProcessorMixin

Row = dict[str, Any]

HEADER_THREADS = 8  # that read the headers of images


def read_rows(train_file: str | Path, family: Family, min_pixels: int, max_pixels: int) -> list[Row]:
    """Return the rows of a training file, checked against the model that is about to learn from them.

    Raises UserError, naming file and line, for a missing column or image, objects without valid boxes, an image of
    another size than its row says, another family's frame, and boxes made for other pixel limits than this training's.
    """
    rows = read_jsonl(train_file)
    if not rows:
        raise UserError(f"{train_file}: no rows; curation kept nothing")
    for number, row in enumerate(rows, start=1):
        where = f"{train_file}: row {number}"
        if not isinstance(row, dict):
            raise UserError(f"{where}: not an object; curate it again")
        missing = COLUMNS - row.keys()
        if missing:
            raise UserError(f"{where}: no column {min(missing)!r}; curate it again")
        try:
            Frame.of(row)
            boxes, _ = ground_truth(row)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        if row["num_instances"] != len(boxes):
            raise UserError(f"{where}: num_instances {row['num_instances']!r}, but it has {len(boxes)} objects")
        if not isinstance(row["image"], str) or not Path(row["image"]).is_file():
            raise UserError(f"{where}: {row['image']}: no such image")
        if row["frame"] != family.frame:
            raise UserError(
                f"{where}: frame {row['frame']!r}, but {family.name} writes {family.frame!r}; curate for this family"
            )
        size = family.input_size(row["width"], row["height"], min_pixels, max_pixels)
        if size != (row["input_width"], row["input_height"]):
            raise UserError(
                f"{where}: curated for an input of {row['input_width']} x {row['input_height']} pixels, "
                f"but --min_pixels {min_pixels} --max_pixels {max_pixels} make it {size[0]} x {size[1]}"
            )
    _check_sizes(train_file, rows)
    return rows


def check_answers_fit(rows: list[Row], processor: "ProcessorMixin", family: Family, max_length: int | None) -> None:
    """Raise UserError where a row is longer than --max_length: TRL would cut its answer off in silence."""
    if max_length is None:
        return
    counts = ProcessorTokens(processor).count(rows)
    found = [token_lengths(row, counted, family) for row, counted in zip(rows, counts, strict=True)]
    lengths = [each["prompt_tokens"] + each["answer_tokens"] for each in found]
    if longer := [number for number, length in enumerate(lengths, start=1) if length > max_length]:
        raise UserError(
            f"--max_length {max_length}: would cut off the answers of {len(longer)} of {len(rows)} rows, first of row "
            f"{longer[0]}; give {max(lengths)}, or leave it out (data.max_answer_tokens leaves out rows)"
        )


def _check_sizes(train_file: str | Path, rows: list[Row]) -> None:
    """Raise UserError, naming the row, where an image is not of the size that its boxes are for; reads headers only."""
    with ThreadPoolExecutor(HEADER_THREADS) as pool:
        sizes = pool.map(upright_size, [row["image"] for row in rows])
        for number, (row, size) in enumerate(zip(rows, sizes, strict=True), start=1):
            if size != (row["width"], row["height"]):
                raise UserError(
                    f"{train_file}: row {number}: {row['image']}: {size[0]} x {size[1]} pixels, but the row is for "
                    f"{row['width']} x {row['height']}; curate it again"
                )


def grpo_dataset(rows: list[Row], kept: int = 64) -> "Dataset":
    """Return prompt and image, and the other columns of the rows, which TRL hands to the rewards.

    Objects are JSON text, since TRL would walk nested values, number by number, for every completion. kept: images
    that stay in memory; TRL asks for those of a generation again in each of its micro-steps.
    """
    flat = [{**row, "prompt": _turns(row), "objects": json.dumps(row["objects"])} for row in rows]
    return _dataset(flat, answers=False, kept=kept)


def sft_dataset(rows: list[Row]) -> "Dataset":
    """Return prompt, image and completion: the ground truth, written in the model's own frame."""
    return _dataset(
        [
            {
                "prompt": _turns(row),
                "completion": [_message("assistant", row["answer"])],
                "image": row["image"],
            }
            for row in rows
        ],
        answers=True,
        kept=1,
    )


COLUMNS = {
    *("system", "prompt", "answer", "image", "objects", "categories", "width", "height", "input_width", "input_height"),
    *("num_instances", "frame", "task", "source_id"),
}


def _turns(row: Row) -> list[dict[str, str]]:
    system = [] if row["system"] is None else [_message("system", row["system"])]
    return [*system, _message("user", row["prompt"])]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _dataset(rows: list[Row], *, answers: bool, kept: int) -> "Dataset":
    from datasets import Dataset, Features, List, Value

    from vision_r1.training.sharing import share_reading

    message = List({"role": Value("string"), "content": Value("string")})
    columns = {"prompt": message, "image": Value("string")}
    if answers:
        columns |= {"completion": message}
    else:
        columns |= {
            "objects": Value("string"),
            "categories": List(Value("string")),
            **dict.fromkeys(("width", "height", "input_width", "input_height", "num_instances"), Value("int64")),
            **dict.fromkeys(("frame", "task", "source_id"), Value("string")),
        }
    chosen = [{name: row[name] for name in columns} for row in rows]
    return share_reading(Dataset.from_list(chosen, features=Features(columns)), kept)
