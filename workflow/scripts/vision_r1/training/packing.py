"""The completions of a prompt in one row: the model reads the prompt once when they are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vision_r1.objectives import packing_pays


@dataclass
class Packing:
    """A batch of R rows, prompt and completion, as one row a distinct prompt: the prompt, then its completions.

    Left out is what no score depends on: padding, and the last token of each completion.

    prompt: how many columns of the batch are prompts; the others are completions. first: of each packed row, the row
    of its prompt. source, (packed rows, width): each token's place in the flattened batch; owner: 0 in a prompt, else
    the number of the completion, or -1 past the end. before, (R, tokens): the place in the flattened packed rows from
    which each token of a completion follows.
    """

    prompt: int
    first: list[int]
    source: torch.Tensor
    owner: torch.Tensor
    before: torch.Tensor

    @classmethod
    def of(cls, ids: torch.Tensor, mask: torch.Tensor, prompt: int, images: Sequence[int]) -> "Packing | None":
        """Lay out (R, T) tokens, padded at both ends; None where that doesn't pay (vision_r1.objectives)."""
        if prompt == 0:
            return None
        rows, length = ids.shape
        begins, said = (mask[:, :prompt] == 0).sum(1).tolist(), mask[:, prompt:].sum(1).tolist()
        groups = groups_of(ids[:, :prompt], images)
        sources, owners = [], []
        follows: list[list[int]] = [[] for _ in range(rows)]
        for group in groups:
            source = [group[0] * length + column for column in range(begins[group[0]], prompt)]
            owner, last = [0] * len(source), len(source) - 1
            for number, row in enumerate(group, start=1):
                read = range(row * length + prompt, row * length + prompt + max(said[row] - 1, 0))
                follows[row] = [last, *range(len(source), len(source) + len(read))]
                source += read
                owner += [number] * len(read)
            sources.append(source)
            owners.append(owner)
        width = max(map(len, sources))
        if not packing_pays(rows, length, len(groups), width):
            return None
        # Past the end stands the batch's first token again, which no token sees and which is none of an image.
        number_of = {row: number for number, group in enumerate(groups) for row in group}
        before = [[number_of[row] * width + place for place in follows[row]] for row in range(rows)]
        tables = (_table(sources, 0, ids.device), _table(owners, -1, ids.device), _table(before, 0, ids.device))
        return cls(prompt, [group[0] for group in groups], *tables)

    def pack(self, options: dict[str, Any], positions: torch.Tensor) -> dict[str, Any]:
        """Return the model's arguments for the packed rows; positions: (3, R, T)."""
        patches = options["pixel_values"].split(options["image_grid_thw"].prod(-1).tolist())
        return options | {
            "input_ids": options["input_ids"].flatten()[self.source],
            "position_ids": positions.flatten(1)[:, self.source],
            "attention_mask": self._mask(),
            "pixel_values": torch.cat([patches[row] for row in self.first]),
            "image_grid_thw": options["image_grid_thw"][self.first],
            "mm_token_type_ids": None,
        }

    def unpack(self, states: torch.Tensor, length: int) -> torch.Tensor:
        """Return (R, length, width) hidden states of the batch from those of the packed rows.

        Zero are those from which no token of a completion follows: TRL's head is not shown them, and copying the states
        of prompts takes as long as a layer.
        """
        asked = states.flatten(0, 1)[self.before]
        rows, tokens, width = asked.shape
        unasked = asked.new_zeros(1, 1, 1).expand(rows, length - tokens, width)
        begin = self.prompt - 1
        return torch.cat([unasked[:, :begin], asked, unasked[:, begin:]], dim=1)

    def _mask(self) -> torch.Tensor:
        """Return (packed rows, 1, width, width) booleans: a token sees what is before it in prompt and completion."""
        queries, keys = self.owner[:, :, None], self.owner[:, None]
        itself = torch.eye(self.owner.shape[1], dtype=torch.bool, device=self.owner.device)
        seen = (keys == 0) | (keys == queries)
        return (seen & torch.ones_like(itself).tril() | itself)[:, None]


def _table(lists: list[list[int]], past_the_end: int, device: torch.device) -> torch.Tensor:
    width = max(map(len, lists))
    return torch.tensor([each + [past_the_end] * (width - len(each)) for each in lists], device=device)


def groups_of(prompts: torch.Tensor, images: Sequence[int]) -> list[list[int]]:
    """Return the rows of each distinct prompt: tokens (R, T) and image alike."""
    groups: dict[tuple, list[int]] = {}
    for row, (ids, image) in enumerate(zip(prompts.tolist(), images, strict=True)):
        groups.setdefault((image, *ids), []).append(row)
    return list(groups.values())
