"""One image and its objects -> one question: what is asked, and which objects answer it.

For the scenes that the base model's pretraining draws step by step: `detection` asks for a whole category list,
`grounding` for all objects of one category, `negative` for a category that is not in the image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vision_r1.prompts import DEFAULT, Templates


def ask(
    task: str,
    objects: Sequence[Mapping[str, Any]],
    categories: Sequence[str],
    rng: np.random.Generator,
    templates: Templates = DEFAULT,
) -> dict[str, Any] | None:
    """Return {prompt, categories, objects} for one task, or None where the image cannot serve it.

    `objects` are {label, bbox} in any frame, `categories` all labels of the data set in its order.
    Grounding takes one label at random among those present, negative one among those absent.
    """
    present = {item["label"] for item in objects}
    if task == "detection":
        asked = list(categories)
    else:
        candidates = [label for label in categories if (label in present) == (task == "grounding")]
        if not candidates:
            return None
        asked = [candidates[rng.integers(len(candidates))]]
    return {
        "prompt": templates.ask(task, asked),
        "categories": asked,
        "objects": [item for item in objects if item["label"] in asked],
    }
