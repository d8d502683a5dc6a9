"""The words of a recipe: how a model is asked for objects, and how its answers are written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vision_r1.files import UserError
from vision_r1.frames import Frame

# Placeholder for names -> tasks whose template has it. Replaced as plain text, since a name may hold braces.
CATEGORIES, PHRASE = "{categories}", "{phrase}"
PLACES = {"detection": CATEGORIES, "grounding": PHRASE, "rec": PHRASE}
LAYOUTS = ("one-line", "lines")
ROUNDINGS = {"nearest": np.rint, "down": np.floor}


@dataclass(frozen=True)
class Templates:
    """Prompts and answers of one recipe: configuration section `templates`, which a protocol may override in part.

    system: a message before the question, None where the model's own chat template decides.
    detection: asks for every object of a list of categories, {categories}: each between two `quote`, joined by
        `separator`. grounding: asks for every object of one category, {phrase}. rec: asks for what an expression
        refers to, {phrase}.
    layout: of the fenced JSON list in a right answer, `one-line` or `lines`, one object per line.
    rounding: of its coordinates, to the `nearest` whole number or `down`.
    Raises UserError for a template without its placeholder, and for an unknown layout or rounding.
    """

    system: str | None
    detection: str
    grounding: str
    rec: str
    quote: str
    separator: str
    layout: str
    rounding: str

    def __post_init__(self) -> None:
        for task, place in PLACES.items():
            if place not in getattr(self, task):
                raise UserError(f"templates.{task}: {getattr(self, task)!r} has no {place}; say where the names go")
        for name, known in (("layout", LAYOUTS), ("rounding", ROUNDINGS)):
            if getattr(self, name) not in known:
                raise UserError(f"templates.{name}: unknown {getattr(self, name)!r}; choose {' or '.join(known)}")

    @classmethod
    def of(cls, entry: Any) -> "Templates":
        """Read the configuration section, or its JSON text. Raises UserError naming a missing or unknown key."""
        try:
            entry = json.loads(entry) if isinstance(entry, str) else entry
        except ValueError as error:
            raise UserError(f"templates: not JSON ({error}): {entry}") from None
        names = {field.name for field in fields(cls)}
        if not isinstance(entry, Mapping) or (wrong := names ^ entry.keys()):
            which = f" missing or unknown: {min(wrong)!r}" if isinstance(entry, Mapping) else ""
            raise UserError(f"templates: give {', '.join(field.name for field in fields(cls))};{which}")
        for name, value in entry.items():
            if not isinstance(value, str) and not (name == "system" and value is None):
                raise UserError(f"templates.{name}: {value!r} is not text")
        return cls(**entry)

    def ask(self, task: str, names: Sequence[str]) -> str:
        """Return the prompt of a task: detection for a list of names; grounding, rec and negative mostly for one."""
        if task == "detection":
            listed = self.separator.join(f"{self.quote}{name}{self.quote}" for name in names)
            return self.detection.replace(CATEGORIES, listed)
        return (self.rec if task == "rec" else self.grounding).replace(PHRASE, self.separator.join(names))

    def answer(self, boxes: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
        """Write boxes (n x 4, x1 y1 x2 y2 in the MODEL's frame) as the fenced JSON list that is asked for."""
        whole = ROUNDINGS[self.rounding]
        items = [
            {"bbox_2d": whole(np.asarray(box, np.float64)).astype(int).tolist(), "label": label}
            for box, label in zip(boxes, labels, strict=True)
        ]
        texts = [json.dumps(item, ensure_ascii=False) for item in items]
        if self.layout == "lines" and texts:
            listed = "[\n\t" + ",\n\t".join(texts) + "\n]"
        else:
            listed = f"[{', '.join(texts)}]"
        return f"```json\n{listed}\n```"

    def right_answer(self, objects: Sequence[Mapping[str, Any]], frame: Frame) -> str:
        """Write the answer that a perfect model gives: objects are {label, bbox}, in pixels of the original image."""
        boxes = np.array([item["bbox"] for item in objects], np.float64).reshape(-1, 4)
        return self.answer(frame.from_original(boxes).tolist(), [item["label"] for item in objects])


# Qwen2.5-VL's words, in which the released code asks; the same as in config/config.yaml.
DEFAULT = Templates(
    system=None,
    detection="Locate every item from the category list in the image and output the coordinates in JSON format. "
    "The category set includes {categories}.",
    grounding="Locate every {phrase} in the image and output the coordinates in JSON format.",
    rec="Locate every {phrase} in the image and output the coordinates in JSON format.",
    quote="",
    separator=", ",
    layout="one-line",
    rounding="nearest",
)


def format_answer(boxes: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
    """Write an answer as DEFAULT does."""
    return DEFAULT.answer(boxes, labels)
