"""What sampling needs to be told: tokens that no policy may write, and, for vLLM, the pixel limits of training."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from trl import GRPOConfig

from vision_r1.files import UserError, link_or_copy, written_whole
from vision_r1.model_folder import PROCESSOR_FILES

if TYPE_CHECKING:
    from transformers import ProcessorMixin


def check_vllm(config: GRPOConfig) -> None:
    """Raise UserError where vLLM is asked for and missing."""
    if config.use_vllm and find_spec("vllm") is None:
        raise UserError("--use_vllm: vLLM is not installed; pip install -r requirements-vllm.txt (Python 3.13)")


def never_sampled(tokens: Sequence[int], use_vllm: bool) -> dict[str, Any]:
    """Return generation arguments under which these tokens are not sampled, by transformers or by vLLM."""
    return {"logit_bias": dict.fromkeys(tokens, -100.0)} if use_vllm else {"suppress_tokens": list(tokens)}


def engine_folder(weights: str | Path, processor: "ProcessorMixin", folder: str | Path) -> str:
    """Return a folder with links to a checkpoint's files and, in place of its own, this processor.

    TRL has vLLM read its processor from the folder of the weights, and has no argument for pixel limits: left alone,
    vLLM would show the policy larger images than the trainer scores it on, and boxes would lie in another frame.
    """
    folder = Path(folder)
    with PartialState().main_process_first():
        if not folder.is_dir():
            with written_whole(folder) as partial:
                partial.mkdir()
                processor.save_pretrained(partial)
                for file in Path(weights).iterdir():
                    if file.is_file() and file.name not in PROCESSOR_FILES:
                        link_or_copy(str(file.resolve()), str(partial / file.name))
    return str(folder)
