"""Position indices of a batch, worked out once for rows of one layout.

transformers loops over the rows in Python, with several calls and a wait for the GPU in each: a third of a step of a
small model on a GPU (docs/gpu.md). Rows that are alike but for their text have the same positions.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel


def position_once(model: PreTrainedModel) -> PreTrainedModel:
    """Change how the model finds positions, in place, and return the model; the positions stay the same."""
    model.model.get_rope_index = _once(model.model.get_rope_index)
    return model


def _once(position: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap get_rope_index, which loops over rows in Python, to run on the distinct rows of a batch alone."""

    def once(input_ids: torch.Tensor, image_grid_thw: torch.Tensor | None = None, **options: Any) -> Any:
        types, mask = options.get("mm_token_type_ids"), options.get("attention_mask")
        one_image_a_row = (
            options.get("video_grid_thw") is None
            and types is not None
            and image_grid_thw is not None
            and len(image_grid_thw) == len(input_ids)
            and (types == 1).any(1).all()
        )
        if not one_image_a_row:
            return position(input_ids, image_grid_thw=image_grid_thw, **options)
        # Positions depend on where the image's tokens and the padding are, and on the image's shape; not on the text.
        mask = torch.ones_like(types) if mask is None else mask
        layout = torch.cat([types.long(), mask.long(), image_grid_thw.long()], dim=1)
        distinct, index = torch.unique(layout, dim=0, return_inverse=True)
        number = index.tolist()
        first = torch.tensor([number.index(each) for each in range(len(distinct))], device=index.device)
        own = {"mm_token_type_ids": types[first], "attention_mask": mask[first]}
        positions, deltas = position(input_ids[first], image_grid_thw=image_grid_thw[first], **own)
        return positions[:, index], deltas[index]

    return once
