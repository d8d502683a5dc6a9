"""Completions by vLLM: the same questions, and answers of the same form, many times faster on a GPU.

Optional: `pip install -r requirements-vllm.txt`. Tested on a CPU only (`make test-vllm`), where texts and
log-probabilities equal those of transformers in float32. vLLM resizes images with torchvision, and on a GPU its kernels
differ, so near ties may fall differently: compare checkpoints only with predictions of one backend. Where answers are
sampled, vLLM draws them from the same distribution, by its own random numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers import GenerationConfig

from vision_r1.data.images import load_image
from vision_r1.evaluation.answers import AnswerReader, Question
from vision_r1.families import Family
from vision_r1.files import UserError
from vision_r1.models import check_checkpoint
from vision_r1.processors import end_tokens, load_processor, prompt_text


def import_vllm() -> ModuleType:
    """Return the package. Raises UserError where it is missing, or can't be imported."""
    try:
        import vllm
    except ImportError as error:
        raise UserError(
            f"--backend vllm: vLLM can't be imported ({error}); pip install -r requirements-vllm.txt (Python 3.13)"
        ) from None
    return vllm


class VllmGenerator:
    """A checkpoint that answers questions, as Generator does. Raises UserError where vLLM can't be imported."""

    def __init__(self, checkpoint: str | Path, family: Family, dtype: str) -> None:
        check_checkpoint(checkpoint, family)
        vllm = import_vllm()
        self.checkpoint, self.family, self.vllm = checkpoint, family, vllm
        self.engine = vllm.LLM(
            str(checkpoint),
            dtype=dtype,
            seed=0,
            limit_mm_per_prompt={"image": 1, "video": 0},
            max_model_len=-1,  # as long as fits beside the weights: the model's own 128,000 tokens may not
            logprobs_mode="processed_logprobs",  # after tokens were forbidden, as transformers counts them
        )
        self.tokenizer = self.engine.get_tokenizer()
        # The prompt is the processor's: the tokenizer's own template may be for text alone, or missing.
        self.processor = load_processor(checkpoint, family, min_pixels=1, max_pixels=1)
        self.ends = end_tokens(GenerationConfig.from_pretrained(checkpoint), self.tokenizer)
        self.read = AnswerReader(self.tokenizer, self.ends).read
        self.never = dict.fromkeys(self.tokenizer.convert_tokens_to_ids(list(family.never_sampled)), -100.0)

    def prepare(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Return vLLM's prompts, with their images."""
        limits = questions[0].decoding
        size = {"shortest_edge": limits.min_pixels, "longest_edge": limits.max_pixels}
        return [
            {
                "prompt": prompt_text(self.processor, question.prompt, question.system),
                "multi_modal_data": {"image": load_image(question.path)},
                "mm_processor_kwargs": {"size": size},
            }
            for question in questions
        ]

    def answer(
        self, questions: Sequence[Question], prompts: list[dict[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """Return an answer to each of several questions, all decoded alike; vLLM batches by itself."""
        prompts = self.prepare(questions) if prompts is None else prompts
        settings = [self._settings(question) for question in questions]
        outputs = [each.outputs[0] for each in self.engine.generate(prompts, settings, use_tqdm=False)]
        return [
            self.read(
                each.token_ids,
                [step[token].logprob for step, token in zip(each.logprobs, each.token_ids, strict=True)],
            )
            for each in outputs
        ]

    def _settings(self, question: Question) -> Any:
        """Return vLLM's sampling parameters of one question."""
        sampling, chosen = question.decoding.sampling, {"temperature": 0.0}
        if sampling:
            names = ("temperature", "top_p", "top_k", "presence_penalty")
            chosen = {name: getattr(sampling, name) for name in names} | {"seed": sampling.seed_of(question)}
        if question.decoding.repetition_penalty != 1:
            chosen["repetition_penalty"] = question.decoding.repetition_penalty
        return self.vllm.SamplingParams(
            **chosen,
            max_tokens=question.decoding.max_new_tokens,
            stop_token_ids=self.ends,
            logprobs=0,
            logit_bias=self.never,
        )
