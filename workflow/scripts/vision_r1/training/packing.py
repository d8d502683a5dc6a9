"""The completions of a prompt in one row: the language model reads the prompt once when they are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Packing:
    """A batch of R rows, prompt and completion, as one row a distinct prompt: the prompt, then its completions.

    input_ids: (R, T), of which the first `prompt` columns are prompts, padded on the left. images: for each row
    the number of its image, filled in when the images have been encoded.
    """

    input_ids: torch.Tensor
    prompt: int
    images: list[int]

    def worthwhile(self) -> bool:
        """Lay out the packed rows; tell whether they hold clearly fewer tokens than the batch."""
        rows, length = self.input_ids.shape
        if self.prompt == 0 or len(self.images) != rows:
            return False
        members = groups_of(self.input_ids[:, : self.prompt], self.images)
        self.copies = max(map(len, members))
        if len(members) * (self.prompt + self.copies * (length - self.prompt)) > 0.8 * rows * length:
            return False
        place = self.input_ids.device
        # A group with fewer completions than others has its first one again, unseen and not read back.
        filled = [group + group[:1] * (self.copies - len(group)) for group in members]
        self.rows = torch.tensor(filled, device=place)
        self.taken = torch.tensor([[slot < len(group) for slot in range(self.copies)] for group in members]).to(place)
        of = {row: (number, slot) for number, group in enumerate(members) for slot, row in enumerate(group)}
        self.group, self.slot = torch.tensor([of[row] for row in range(rows)], device=place).T
        return True

    def pack(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the language model's arguments for the packed rows."""
        embeddings, mask, positions = (options[name] for name in ("inputs_embeds", "attention_mask", "position_ids"))
        packed = {
            "inputs_embeds": self._pack(embeddings),
            "position_ids": torch.stack([self._pack(each) for each in positions]),
            "attention_mask": self._mask(self._pack(mask).bool()),
        }
        if options.get("deepstack_visual_embeds") is not None:  # Qwen3-VL
            packed |= deepstack_of(options, self.rows[:, 0]) | {
                "visual_pos_masks": self._pack(options["visual_pos_masks"])
            }
        return options | packed

    def unpack(self, states: torch.Tensor) -> torch.Tensor:
        """Return (R, T, width) hidden states of the batch from those of the packed rows.

        Of a prompt, only the last token's is there, from which the first token of the completion follows: TRL's head
        is shown no other one, and copying them costs as much as a layer.
        """
        completions = states[:, self.prompt :].unflatten(1, (self.copies, -1))[self.group, self.slot]
        last = states[:, self.prompt - 1 : self.prompt][self.group]
        unused = last.new_zeros(1, 1, 1).expand(len(last), self.prompt - 1, last.shape[-1])
        return torch.cat([unused, last, completions], dim=1)

    def _pack(self, values: torch.Tensor) -> torch.Tensor:
        completions = values[:, self.prompt :][self.rows].flatten(1, 2)
        return torch.cat([values[self.rows[:, 0], : self.prompt], completions], dim=1)

    def _mask(self, real: torch.Tensor) -> torch.Tensor:
        """Return (groups, 1, packed, packed) booleans: who sees whom; `real` are the tokens that are no padding."""
        length = self.input_ids.shape[1] - self.prompt
        places = torch.arange(self.prompt + self.copies * length, device=real.device)
        # 0 in the prompt, else the number of the completion from 1 on.
        owner = torch.where(places < self.prompt, 0, 1 + (places - self.prompt) // length)
        earlier = places[:, None] >= places[None]
        seen = earlier & ((owner[None] == 0) | (owner[:, None] == owner[None]))
        taken = torch.cat([torch.ones_like(self.taken[:, :1]), self.taken], dim=1)[:, owner]
        itself = torch.eye(len(places), dtype=torch.bool, device=real.device)  # padding sees something, too
        return (seen & (real & taken)[:, None] | itself)[:, None]


def groups_of(prompts: torch.Tensor, images: Sequence[int]) -> list[list[int]]:
    """Return the rows of each distinct prompt: tokens (R, T) and image alike."""
    groups: dict[tuple, list[int]] = {}
    for row, (ids, image) in enumerate(zip(prompts.tolist(), images, strict=True)):
        groups.setdefault((image, *ids), []).append(row)
    return list(groups.values())


def deepstack_of(options: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """Return Qwen3-VL's deeper image features, one line an image token, of some rows of the batch."""
    visual = options["visual_pos_masks"]
    owner = torch.arange(len(visual), device=visual.device)[:, None].expand_as(visual)[visual]
    keep = torch.cat([(owner == row).nonzero()[:, 0] for row in rows])
    return {"deepstack_visual_embeds": [layer[keep] for layer in options["deepstack_visual_embeds"]]}
