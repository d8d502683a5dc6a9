"""Protocols: named ways to ask for objects. Scores of different protocols can't be compared.

all-in-one            one prompt with all categories (paper, COCO)
per-category          one prompt for each category of the data set (ours: the honest one)
per-present-category  one prompt for each category that is in the image (paper, ODinW: tells the model what is there)
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from vision_r1.data.coco import CocoDataset, CocoImage
from vision_r1.evaluation.answers import Sampling
from vision_r1.evaluation.readers import READERS
from vision_r1.files import UserError
from vision_r1.prompts import DEFAULT, Templates
from vision_r1.text import did_you_mean

Names = Mapping[str, Mapping[str, str]]

PROMPTS = ("all-in-one", "per-category", "per-present-category")
OF_READING = {"reader", "score", "split"}  # keys of a protocol that change no prompt


@dataclass(frozen=True)
class Protocol:
    """How a suite is asked.

    prompts: one of PROMPTS; templates: their words; names: data set -> category -> the name to ask for it by.
    max_new_tokens, min_pixels, max_pixels: limits of an answer, and of an image as the model sees it.
    sampling: how answers are drawn, None for the most probable token each time. repetition_penalty: as transformers
    defines it, on tokens of prompt and answer; 1 for none.

    A configuration entry also holds how answers are read, and which part of the data is asked about (OF_READING).
    Neither changes an answer, so prediction doesn't read these keys.
    """

    name: str
    prompts: str
    max_new_tokens: int
    min_pixels: int
    max_pixels: int
    templates: Templates = DEFAULT
    sampling: Sampling | None = None
    repetition_penalty: float = 1.0
    names: Names = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, entry: Any, min_pixels: int, max_pixels: int) -> "Protocol":
        """Read a protocol's configuration entry; the pixel limits given here hold where it has none.

        Raises UserError naming the protocol and the key.
        """
        where = f"protocol {name}"
        if not isinstance(entry, Mapping):
            raise UserError(f"{where}: {entry!r} is not a mapping with keys prompts and max_new_tokens")
        known = {item.name for item in fields(cls)} - {"name"}
        if unknown := entry.keys() - known - OF_READING:
            raise UserError(f"{where}: unknown key {min(unknown)!r}{did_you_mean(min(unknown), sorted(known))}")
        if entry.get("prompts") not in PROMPTS:
            raise UserError(f"{where}: unknown prompts {entry.get('prompts')!r}; choose {', '.join(PROMPTS)}")
        values = {"min_pixels": min_pixels, "max_pixels": max_pixels}
        values |= {key: value for key, value in entry.items() if key in known}
        for key in ("max_new_tokens", "max_pixels", "min_pixels"):
            if type(values.get(key)) is not int or values[key] < 1:
                raise UserError(f"{where}: {key} {values.get(key)!r} is not a positive whole number")
        if values["min_pixels"] > values["max_pixels"]:
            raise UserError(f"{where}: min_pixels {values['min_pixels']} is above max_pixels {values['max_pixels']}")
        penalty = values.get("repetition_penalty", 1.0)
        if type(penalty) not in (int, float) or not 0 < penalty < math.inf:
            raise UserError(f"{where}: repetition_penalty {penalty!r} is not a number above 0; 1 is none")
        if "templates" in values:
            values["templates"] = Templates.of(values["templates"])
        if values.get("sampling") is not None:
            values["sampling"] = _sampling(values["sampling"], where)
        _check_names(values.get("names", {}), where)
        return cls(name, **values)


def _check_names(names: Any, where: str) -> None:
    try:
        msgspec.convert(names, dict[str, dict[str, str]])
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: names: {error}; give data set -> category -> name") from None


def _sampling(entry: Any, where: str) -> Sampling:
    keys = [item.name for item in fields(Sampling)]
    try:
        sampling = msgspec.convert(entry, Sampling)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: sampling: {error}; give {', '.join(keys)}") from None
    if unknown := entry.keys() - set(keys):
        raise UserError(f"{where}: sampling: unknown key {min(unknown)!r}; give {', '.join(keys)}")
    if sampling.temperature <= 0 or not 0 < sampling.top_p <= 1 or sampling.top_k < 0:
        raise UserError(f"{where}: sampling: temperature is above 0, top_p in 0..1, top_k at least 0: {entry}")
    return sampling


def used_protocols(config: Mapping[str, Any]) -> list[str]:
    """Return the protocols that the suites of a configuration's report are scored by."""
    by_suite = config["evaluation"]["suite_protocols"]
    return list(dict.fromkeys(name for suite in config["report"]["suites"] for name in by_suite[suite]))


@dataclass(frozen=True)
class Reading:
    """How a protocol's answers are scored: `reader` of vision_r1.evaluation.readers, the score that every box gets
    under score policy `constant`, and the names that categories were asked for by, as in Protocol.
    """

    reader: str = "strict"
    score: float = 0.99
    names: Names = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any]) -> "Reading":
        """Read the keys of a protocol's configuration entry that are about scoring. Raises UserError naming the key."""
        if not isinstance(entry, Mapping):
            raise UserError(f"protocol {name}: {entry!r} is not a mapping")
        reading = cls(**{item.name: entry[item.name] for item in fields(cls) if item.name in entry})
        _check_names(reading.names, f"protocol {name}")
        if not isinstance(reading.score, int | float):
            raise UserError(f"protocol {name}: score {reading.score!r} is not a number")
        if not isinstance(reading.reader, str) or reading.reader not in READERS:
            raise UserError(f"protocol {name}: unknown reader {reading.reader!r}; choose {', '.join(READERS)}")
        return reading


def read_entries(pairs: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Return protocol -> configuration entry of (name, JSON) pairs. Raises UserError for bad JSON or a name twice."""
    entries: dict[str, Any] = {}
    for name, text in pairs:
        if name in entries:
            raise UserError(f"protocol {name}: the name is given twice")
        try:
            entries[name] = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"protocol {name}: not JSON ({error}): {text}") from None
    return entries


def asked_names(dataset: CocoDataset, names: Names) -> dict[int, str]:
    """Return the name that each category of a data set is asked for by, by its id.

    Raises UserError for a name of a category that there isn't, and where two have one name: an answer could not tell
    them apart.
    """
    renamed = names.get(dataset.name, {})
    if unknown := renamed.keys() - {*dataset.categories.values()}:
        hint = did_you_mean(min(unknown), sorted(dataset.categories.values()))
        raise UserError(f"{dataset.name}: a protocol's names: no category {min(unknown)!r}{hint}")
    found = {number: renamed.get(name, name) for number, name in dataset.categories.items()}
    if twice := [name for name, count in Counter(found.values()).items() if count > 1]:
        raise UserError(
            f"{dataset.name}: two categories would be asked for as {twice[0]!r}; fix the protocol's names, or merge "
            "the two in the annotations"
        )
    return found


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
        for prompt, asked in _questions(protocol, dataset, image)
    ]


def _questions(protocol: Protocol, dataset: CocoDataset, image: CocoImage) -> list[tuple[str, tuple[str, ...]]]:
    names, ask = asked_names(dataset, protocol.names), protocol.templates.ask
    if protocol.prompts == "all-in-one":
        every = tuple(names.values())
        return [(ask("detection", every), every)]
    if protocol.prompts == "per-present-category":
        present = {item.label for item in image.objects}
        names = {number: name for number, name in names.items() if dataset.categories[number] in present}
    return [(ask("grounding", [name]), (name,)) for name in names.values()]
