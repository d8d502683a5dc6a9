"""Settings of the base model's pretraining; each is a flag of make_base_model.py and a key of config section `base`."""

from dataclasses import dataclass, field, fields

from vision_r1.data.worlds import WORLDS
from vision_r1.files import UserError

MAY_BE_ZERO = ("exact_steps", "filling_steps", "number_waves", "workers")


def _setting(text: str):
    return field(metadata={"help": text})


@dataclass(frozen=True)
class Recipe:
    """One pretraining. Raises UserError naming an impossible setting."""

    world: str = _setting(f"synthetic scenes to learn: {', '.join(WORLDS)}")
    hidden_size: int = _setting("width of both towers, a multiple of head_size")
    head_size: int = _setting("width of an attention head, a multiple of 16")
    text_layers: int = _setting("layers of the language model")
    vision_layers: int = _setting("layers of the vision tower")
    number_waves: int = _setting(
        "sine waves that a coordinate's first embedding is made of, so that neighbours start alike; 0: it is random"
    )
    steps: int = _setting("optimiser steps")
    exact_steps: int = _setting("steps at the start that learn exact labels; the others learn coarse ones")
    filling_steps: int = _setting("steps at the start in which scenes fill up, from 3 objects to the world's most")
    batch_size: int = _setting("fresh scenes per step")
    muon_learning_rate: float = _setting("peak learning rate of the matrices (Muon)")
    adamw_learning_rate: float = _setting("peak learning rate of all other weights (AdamW)")
    weight_decay: float = _setting("weight decay of both optimisers")
    warmup_steps: int = _setting("steps of linear warm-up; linear decay to 2 %% follows")
    grow: float = _setting("coarse labels: each edge lies this fraction of the box's side too far out")
    jitter: float = _setting("coarse labels: standard deviation of each edge, as a fraction of the box's side")
    drop: float = _setting("coarse labels: chance that an object is left out; one is always kept")
    detection_share: float = _setting("share of prompts that ask for all categories")
    grounding_share: float = _setting("share of prompts that ask for a category in the image")
    negative_share: float = _setting("share of prompts that ask for a category not in the image")
    device: str = _setting("cpu, in float32, or cuda, in bfloat16 where autocast says so")
    workers: int = _setting("processes that draw scenes ahead; 0: the training itself draws")

    def __post_init__(self) -> None:
        for name, values in (("world", WORLDS), ("device", ("cpu", "cuda"))):
            if getattr(self, name) not in values:
                raise UserError(f"--{name} {getattr(self, name)}: must be one of {', '.join(values)}")
        for item in fields(self):
            if item.type is str:
                continue
            low = 1 if item.type is int and item.name not in MAY_BE_ZERO else 0
            if not low <= getattr(self, item.name) < float("inf"):
                raise UserError(f"--{item.name} {getattr(self, item.name)}: must be a number of at least {low}")
        for name in ("exact_steps", "filling_steps"):
            if getattr(self, name) > self.steps:
                raise UserError(f"--{name} {getattr(self, name)}: must be from 0 to --steps {self.steps}")
        if self.head_size % 16:
            raise UserError(f"--head_size {self.head_size}: must be a multiple of 16")
        if self.hidden_size % self.head_size:
            raise UserError(f"--hidden_size {self.hidden_size}: must be a multiple of --head_size {self.head_size}")
        if self.drop > 1:
            raise UserError(f"--drop {self.drop}: must be at most 1, it is a chance")
        if abs(sum(self.shares) - 1) > 1e-6:
            raise UserError(f"--detection_share, --grounding_share, --negative_share: sum to {sum(self.shares)}, not 1")

    @property
    def shares(self) -> tuple[float, float, float]:
        """Chances of detection, grounding and negative prompts."""
        return self.detection_share, self.grounding_share, self.negative_share
