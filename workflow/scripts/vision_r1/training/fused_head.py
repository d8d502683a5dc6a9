"""TRL's fused language-model head, which reads the head's weights without calling the head as a module."""

from accelerate.utils import fsdp_utils
from trl.trainer import utils


def score_only_completions() -> None:
    """Make TRL drop the tokens that have no label before it multiplies by the head, on every device.

    It does so where Triton runs. Elsewhere it keeps a fixed shape, for accelerators that compile one, and projects the
    prompts, too: on a CPU most of the head's work. `_use_triton` decides nothing else in that module (a test holds it).
    """
    utils._use_triton = lambda device: True


def keep_head_beside_last_norm() -> None:
    """Make accelerate put the head of a vision-language model into one FSDP unit with the norm before it.

    The norm's forward pass gathers the unit, so TRL finds the head's weights whole. Otherwise it gathers them by
    DTensor.full_tensor, whose backward pass takes each process's gradient for the mean of all: each process's part of
    the head would learn from that process's samples only. accelerate intends that unit, but looks for the norm among
    the children of the base model, and here it is the language model's. A tied head shares the embedding's unit, which
    the embedding's forward pass gathers.
    """
    found = fsdp_utils._find_final_norm
    fsdp_utils._find_final_norm = lambda model: found(model) or model.model.language_model.norm
