"""Protocols: named ways to ask for objects. Scores of different protocols can't be compared.

all-in-one            one prompt with all categories (paper, COCO)
per-category          one prompt for each category of the data set (ours: the honest one)
per-present-category  one prompt for each category that is in the image (paper, ODinW: tells the model what is there)
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vision_r1.data.coco import CocoDataset, CocoImage
from vision_r1.files import UserError
from vision_r1.prompts import detection_prompt, phrase_prompt

PROMPTS = ("all-in-one", "per-category", "per-present-category")
OF_SCORING = {"parser", "split"}  # keys of a protocol that change no prompt


@dataclass(frozen=True)
class Protocol:
    """How a suite is asked: `prompts` is one of PROMPTS; limits of new tokens, and of input pixels an image.

    A configuration entry also holds how answers are read (`parser`) and which part of the data is asked about
    (`split`). They decide no answer, so prediction knows nothing of them.
    """

    name: str
    prompts: str
    max_new_tokens: int
    min_pixels: int
    max_pixels: int

    @classmethod
    def of(cls, name: str, entry: Any, min_pixels: int, max_pixels: int) -> "Protocol":
        """Read a protocol's configuration entry; the pixel limits given here hold where it has none.

        Raises UserError naming the protocol and the key.
        """
        where = f"protocol {name}"
        if not isinstance(entry, Mapping):
            raise UserError(f"{where}: {entry!r} is no mapping with keys prompts and max_new_tokens")
        known = {"prompts", "max_new_tokens", "min_pixels", "max_pixels"}
        if unknown := entry.keys() - known - OF_SCORING:
            raise UserError(f"{where}: unknown key {min(unknown)!r}; known: {', '.join(sorted(known))}")
        if entry.get("prompts") not in PROMPTS:
            raise UserError(f"{where}: prompts {entry.get('prompts')!r} is none of {', '.join(PROMPTS)}")
        values = {"min_pixels": min_pixels, "max_pixels": max_pixels}
        values |= {key: value for key, value in entry.items() if key in known}
        for key in sorted(known - {"prompts"}):
            if type(values.get(key)) is not int or values[key] < 1:
                raise UserError(f"{where}: {key} {values.get(key)!r} is not a positive whole number")
        if values["min_pixels"] > values["max_pixels"]:
            raise UserError(f"{where}: min_pixels {values['min_pixels']} is above max_pixels {values['max_pixels']}")
        return cls(name, **values)


def read_protocols(entries: Iterable[Sequence[str]], min_pixels: int, max_pixels: int) -> list[Protocol]:
    """Read protocols from (name, JSON) pairs. Raises UserError as Protocol.of, for odd JSON and for a name twice."""
    protocols: dict[str, Protocol] = {}
    for name, text in entries:
        if name in protocols:
            raise UserError(f"protocol {name}: the name is given twice")
        try:
            protocols[name] = Protocol.of(name, json.loads(text), min_pixels, max_pixels)
        except json.JSONDecodeError as error:
            raise UserError(f"protocol {name}: not JSON ({error}): {text}") from None
    return list(protocols.values())


@dataclass(frozen=True)
class Request:
    """One prompt for one image; `categories` are the labels that it asks for."""

    dataset: str
    protocol: Protocol
    image: CocoImage
    prompt: str
    categories: tuple[str, ...]


def requests(protocol: Protocol, dataset: CocoDataset) -> list[Request]:
    """Return the prompts of a protocol for a data set, image by image, categories in the data set's order.

    An image without objects gets no prompt under per-present-category.
    """
    return [
        Request(dataset.name, protocol, image, prompt, asked)
        for image in dataset.images
        for prompt, asked in _questions(protocol.prompts, dataset, image)
    ]


def _questions(prompts: str, dataset: CocoDataset, image: CocoImage) -> list[tuple[str, tuple[str, ...]]]:
    names = tuple(dataset.categories.values())
    if prompts == "all-in-one":
        return [(detection_prompt(names), names)]
    if prompts == "per-present-category":
        present = {item.label for item in image.objects}
        names = tuple(name for name in names if name in present)
    return [(phrase_prompt(name), (name,)) for name in names]
