"""Right answers made worse, in families of growing strength (our choice): the answers that the audit of rewards uses.

A family takes a right answer and a strength in 0..1 and gives a worse answer; at strength 0 it gives the right one.
Boxes are (n, 4) x1 y1 x2 y2 in pixels of the original image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vision_r1.frames import Frame
from vision_r1.parsing import label_key
from vision_r1.prompts import format_answer


@dataclass(frozen=True)
class Answer:
    """A right answer: its boxes and labels, the image's width and height, and the labels to pick others from.

    The vocabulary is the categories that were asked for, or those of all rows if only one was asked for.
    """

    boxes: np.ndarray
    labels: list[str]
    size: np.ndarray
    vocabulary: Sequence[str]


Predicted = tuple[np.ndarray, list[str]]  # boxes and labels
BoxFamily = Callable[[Answer, float, np.random.Generator], Predicted]


def jitter(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Move every corner by up to 40% of the box's side (normal, deviation 20% of the side)."""
    noise = np.clip(rng.normal(0, 0.2, answer.boxes.shape), -0.4, 0.4)
    return answer.boxes + strength * noise * _sides(answer.boxes), answer.labels


def shrink(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Shrink every box about its centre, at full strength to 40% of its sides."""
    return answer.boxes + strength * 0.3 * _sides(answer.boxes) * [1, 1, -1, -1], answer.labels


def whole_image(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Answer a share of the objects with the whole image."""
    boxes = answer.boxes.copy()
    boxes[_share(answer, strength, rng)] = [0, 0, *answer.size]
    return boxes, answer.labels


def one_box(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Replace a share of the objects, at least two, by one box around them all with the label of one."""
    chosen = _share(answer, strength, rng)
    if len(chosen) < 2:
        return answer.boxes, answer.labels
    rest = np.setdiff1d(np.arange(len(answer.labels)), chosen)
    around = [*answer.boxes[chosen, :2].min(axis=0), *answer.boxes[chosen, 2:].max(axis=0)]
    return np.vstack([answer.boxes[rest], around]), [answer.labels[i] for i in [*rest, chosen[0]]]


def missed(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Leave out a share of the objects."""
    kept = np.setdiff1d(np.arange(len(answer.labels)), _share(answer, strength, rng))
    return answer.boxes[kept], [answer.labels[i] for i in kept]


def spam(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Add random boxes with random labels, at most four per object."""
    most = 4 * max(len(answer.labels), 1)
    count = round(strength * most)
    low, side = rng.uniform(0, 0.7, (most, 2)), rng.uniform(0.1, 0.3, (most, 2))
    labels = [answer.vocabulary[i] for i in rng.integers(len(answer.vocabulary), size=most)]
    boxes = np.concatenate([low, low + side], axis=1) * np.tile(answer.size, 2)
    return np.concatenate([answer.boxes, boxes[:count]]), answer.labels + labels[:count]


def duplicates(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Repeat every object, at most four times."""
    times = 1 + round(strength * 4)
    return np.tile(answer.boxes, (times, 1)), answer.labels * times


def wrong_labels(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Give a share of the objects a wrong label from the vocabulary."""
    labels = list(answer.labels)
    for i in _share(answer, strength, rng):
        others = [label for label in answer.vocabulary if label_key(label) != label_key(labels[i])]
        if others:
            labels[i] = others[rng.integers(len(others))]
    return answer.boxes, labels


def unknown_labels(answer: Answer, strength: float, rng: np.random.Generator) -> Predicted:
    """Give a share of the objects a label that nobody asked for."""
    labels = list(answer.labels)
    for i in _share(answer, strength, rng):
        labels[i] = "something else"
    return answer.boxes, labels


def truncation(text: str, strength: float, rng: np.random.Generator) -> str:
    """Cut the text off, down to a tenth of its length."""
    return text[: round(len(text) * (1 - 0.9 * strength))]


def prose(text: str, strength: float, rng: np.random.Generator) -> str:
    """Put sentences around a share of the answers."""
    return f"Sure, here are the boxes:\n{text}\nLet me know if I can help." if rng.random() < strength else text


def empty(text: str, strength: float, rng: np.random.Generator) -> str:
    """Answer a share of the images with the empty list."""
    return format_answer([], []) if rng.random() < strength else text


BOX_FAMILIES: dict[str, BoxFamily] = {
    family.__name__: family
    for family in (jitter, shrink, whole_image, one_box, missed, spam, duplicates, wrong_labels, unknown_labels)
}
TEXT_FAMILIES: dict[str, Callable[[str, float, np.random.Generator], str]] = {
    family.__name__: family for family in (truncation, prose, empty)
}
ERROR_FAMILIES = (*BOX_FAMILIES, *TEXT_FAMILIES)


def perturb(family: str, strength: float, answer: Answer, frame: Frame, rng: np.random.Generator) -> str:
    """Return the completion that one of ERROR_FAMILIES makes of an answer, in the model's frame and answer format."""
    worse = BOX_FAMILIES[family](answer, strength, rng) if family in BOX_FAMILIES else (answer.boxes, answer.labels)
    text = format_answer(frame.from_original(worse[0]), worse[1])
    return text if family in BOX_FAMILIES else TEXT_FAMILIES[family](text, strength, rng)


def _sides(boxes: np.ndarray) -> np.ndarray:
    return np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _share(answer: Answer, strength: float, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(len(answer.labels))[: round(strength * len(answer.labels))]
