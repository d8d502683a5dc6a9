"""A page of images with the answers of checkpoints: one HTML file that opens from disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_r1.data.images import load_image
from vision_r1.report.drawing import palette
from vision_r1.report.gallery import Example, view
from vision_r1.report.template import fill


def render(question: str, answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the page as HTML. answers: checkpoint -> lines of a predictions file, about the same images."""
    every = [line for lines in answers.values() for line in lines]
    colours = palette(label for line in every for label in line["categories"])
    titles = _titles(list(answers))
    examples = []
    for path in dict.fromkeys(line["file_name"] for line in every):
        image = load_image(path)
        views = tuple(
            view(titles[checkpoint], image, [line for line in lines if line["file_name"] == path], colours)
            for checkpoint, lines in answers.items()
        )
        examples.append(Example("", "", Path(path).name, 0.0, views))
    context = {"question": question, "checkpoints": list(answers), "examples": examples}
    return fill("predictions.html.j2", context)


def _titles(checkpoints: Sequence[str]) -> dict[str, str]:
    """Return the end of each checkpoint's path that distinguishes it: release/strict/grpo_stage2, base/model."""
    parts = {checkpoint: Path(checkpoint).parts for checkpoint in checkpoints}
    for count in range(3, max(map(len, parts.values())) + 1):
        titles = {checkpoint: "/".join(own[-count:]) for checkpoint, own in parts.items()}
        if len(set(titles.values())) == len(titles):
            return titles
    return {checkpoint: checkpoint for checkpoint in checkpoints}
