"""Greedy completions by vLLM: the same questions, and answers of the same form, many times faster on a GPU.

Optional, and NOT tested where this was written: vLLM needs a GPU and is not among the pinned packages. Install it
in an environment of its own (`pip install vllm`). Its kernels differ from transformers', so near ties fall
differently; compare checkpoints only with predictions of one backend (the predictions' header holds its name).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vision_r1.data.images import load_image
from vision_r1.evaluation.answers import AnswerReader, Question
from vision_r1.families import Family
from vision_r1.files import UserError
from vision_r1.models import check_checkpoint
from vision_r1.processors import load_processor, prompt_text


class VllmGenerator:
    """A checkpoint that answers questions, as Generator does. Raises UserError where vLLM is not installed."""

    def __init__(self, checkpoint: str | Path, family: Family, dtype: str) -> None:
        check_checkpoint(checkpoint, family)
        try:
            import vllm
            from transformers import GenerationConfig
        except ImportError:
            raise UserError("--backend vllm: vllm is not installed; it needs a GPU") from None
        self.checkpoint, self.family, self.vllm = checkpoint, family, vllm
        self.engine = vllm.LLM(str(checkpoint), dtype=dtype, limit_mm_per_prompt={"image": 1}, seed=0)
        self.tokenizer = self.engine.get_tokenizer()
        # The prompt is the processor's: the tokenizer's own template may be for text alone, or missing.
        self.processor = load_processor(checkpoint, family, min_pixels=1, max_pixels=1)
        ends = GenerationConfig.from_pretrained(checkpoint).eos_token_id
        self.read = AnswerReader(self.tokenizer, ends if isinstance(ends, list) else [ends]).read
        self.never = dict.fromkeys(self.tokenizer.convert_tokens_to_ids(list(family.never_sampled)), -100.0)

    def answer(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Return an answer to each of several questions, all with the same limits; vLLM batches by itself."""
        limits = questions[0].decoding
        settings = self.vllm.SamplingParams(
            temperature=0.0, max_tokens=limits.max_new_tokens, logprobs=0, logit_bias=self.never
        )
        pixels = {"min_pixels": limits.min_pixels, "max_pixels": limits.max_pixels}
        prompts = [
            {
                "prompt": prompt_text(self.processor, question.prompt),
                "multi_modal_data": {"image": load_image(question.path)},
                "mm_processor_kwargs": pixels,
            }
            for question in questions
        ]
        outputs = [each.outputs[0] for each in self.engine.generate(prompts, settings, use_tqdm=False)]
        return [
            self.read(
                each.token_ids,
                [step[token].logprob for step, token in zip(each.logprobs, each.token_ids, strict=True)],
            )
            for each in outputs
        ]
