"""How many prompts a suite has, and how long answering them takes, from the annotation files that exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.protocols import Protocol, requests
from vision_r1.families import family
from vision_r1.preflight.architecture import Architecture
from vision_r1.preflight.cost import Speed, token_seconds
from vision_r1.preflight.lengths import Lengths


@dataclass(frozen=True)
class Load:
    """The prompts of one suite under one protocol, and the image tokens of all of them together."""

    suite: str
    protocol: str
    prompts: int
    image_tokens: int
    max_new_tokens: int


def loads_of(config: Mapping[str, Any], annotations: Mapping[str, str]) -> tuple[list[Load], list[str]]:
    """Return the loads of the report's suites, and the suites that lack an annotation file so far.

    `annotations`: data set -> its annotation file.
    """
    model, evaluation = config["model"], config["evaluation"]
    model_family, loads, missing = family(model["family"]), [], []
    for suite in config["report"]["suites"]:
        names = evaluation["suites"][suite]
        if not all(Path(annotations.get(name, "")).is_file() for name in names):
            missing.append(suite)
            continue
        datasets = [read_coco(name, annotations[name]) for name in names]
        for name in evaluation["suite_protocols"][suite]:
            protocol = Protocol.of(name, evaluation["protocols"][name], model["min_pixels"], model["max_pixels"])
            limits = protocol.min_pixels, protocol.max_pixels
            images = [request.image for dataset in datasets for request in requests(protocol, dataset)]
            # Where the annotations have no size, the largest that the model may see.
            side = round(protocol.max_pixels**0.5)
            sizes = [model_family.input_size(image.width or side, image.height or side, *limits) for image in images]
            tokens = sum(width * height for width, height in sizes) // model_family.factor**2
            loads.append(Load(suite, name, len(images), tokens, protocol.max_new_tokens))
    return loads, missing


def prediction_seconds(
    model: Architecture, load: Load, batch_size: int, lengths: Lengths, speed: Speed, backend: str
) -> float:
    """Return GPU-seconds for one checkpoint: reading prompts is bound by arithmetic, writing by graphs or vLLM."""
    answer = min(load.max_new_tokens, lengths.answer)
    text = model.parameters - model.vision_parameters
    tokens = load.image_tokens + load.prompts * lengths.text
    reading = 2 * (text * tokens + model.vision_parameters * model.merge * load.image_tokens)
    batches = -(-load.prompts // batch_size)
    length = round(tokens / load.prompts + answer / 2) if load.prompts else 0
    way = "vllm" if backend == "vllm" else "graphs"
    return reading / speed.operations + batches * answer * token_seconds(model, batch_size, length, way, speed)
