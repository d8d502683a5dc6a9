"""What sampling needs to be told: tokens that no policy may write, and, for vLLM, how it is shown images."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from transformers import set_seed
from trl import GRPOConfig

from vision_r1.files import UserError, link_or_copy, written_whole
from vision_r1.model_folder import PROCESSOR_FILES

if TYPE_CHECKING:
    from transformers import ProcessorMixin
    from trl.generation.vllm_generation import VLLMGeneration


def check_vllm(config: GRPOConfig) -> None:
    """Raise UserError where vLLM is asked for and missing, or the processes don't divide evenly among its engines.

    TRL needs the package in both modes: in `server`, it sends the server new weights through vLLM's own NCCL code.
    """
    if not config.use_vllm:
        return
    if find_spec("vllm") is None:
        raise UserError("--use_vllm: vLLM is not installed; pip install -r requirements-vllm.txt (Python 3.13)")
    if config.vllm_mode == "colocate" and config.world_size % config.vllm_tensor_parallel_size:
        raise UserError(
            f"--vllm_tensor_parallel_size {config.vllm_tensor_parallel_size}: {config.world_size} processes can't be "
            "grouped by as many"
        )


def never_sampled(tokens: Sequence[int], use_vllm: bool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the generation arguments `given`, under which these tokens are not sampled either.

    transformers takes a list of tokens, vLLM a bias for each.
    """
    if use_vllm:
        biases = {int(token): bias for token, bias in (given.get("logit_bias") or {}).items()}
        return {**given, "logit_bias": biases | dict.fromkeys(tokens, -100.0)}
    return {**given, "suppress_tokens": [*(given.get("suppress_tokens") or ()), *tokens]}


def engine_folder(weights: str | Path, processor: "ProcessorMixin", folder: str | Path) -> str:
    """Return a folder with links to a checkpoint's files and, in place of its own, this processor.

    TRL lets vLLM read its processor from the folder of the weights, and has no argument for pixel limits. Without this,
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


def seed_again(config: GRPOConfig) -> None:
    """Seed this process by --seed: a colocated vLLM, as it starts, seeds it by the number of the process alone.

    vLLM draws completions from this process's random numbers, so all training seeds would draw alike. Processes that
    share vLLM's weights must draw the same.
    """
    set_seed(config.seed + PartialState().process_index // config.vllm_tensor_parallel_size)


def show_images_once(generation: "VLLMGeneration", image_token: int) -> None:
    """Give a colocated vLLM prompts with one token per image, as it expects, in place of one per patch.

    TRL 1.16 hands over the trainer's prompts, whose image tokens the processor has multiplied already. vLLM multiplies
    the first one again, so the policy would answer another prompt than it is trained on (TRL's own
    report of it: docs/gpu.md). A server is different: there TRL looks for the multiplied tokens.
    """
    generate = generation.generate

    def generate_from_short(prompts: list[list[int]], **options: Any) -> Any:
        short = [
            [token for token, run in groupby(ids) for _ in range(1 if token == image_token else len([*run]))]
            for ids in prompts
        ]
        return generate(prompts=short, **options)

    generation.generate = generate_from_short
