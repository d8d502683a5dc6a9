"""TRL's fused language-model head, on a CPU as it is on a GPU: only the tokens that are scored meet the vocabulary."""

from trl.trainer import utils


def score_only_completions() -> None:
    """Make TRL drop the tokens that have no label before it multiplies by the head, on every device.

    It does so where Triton runs. Elsewhere it keeps a fixed shape, for accelerators that compile one, and projects the
    prompts, too: on a CPU most of the head's work. `_use_triton` decides nothing else in that module (a test holds it).
    """
    utils._use_triton = lambda device: True
