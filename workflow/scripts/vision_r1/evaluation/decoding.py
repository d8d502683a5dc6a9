"""Choosing each token, the most probable or a drawn one, and noting its log-probability; as logits processors."""

from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from vision_r1.evaluation.answers import Question


class RepetitionPenalty(LogitsProcessor):
    """transformers' penalty on the tokens of prompt and answer: it divides their positive scores and multiplies the
    negative ones. mask (questions, prompt): 0 where a shorter prompt of a batch is padded, which is no part of it.
    """

    def __init__(self, penalty: float, mask: torch.Tensor) -> None:
        self.penalise, self.mask = RepetitionPenaltyLogitsProcessor(penalty), mask.bool()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        prompt = input_ids[:, : self.mask.shape[1]]
        input_ids = input_ids.clone()
        input_ids[:, : self.mask.shape[1]] = prompt.where(self.mask, prompt[:, -1:])  # again a token that it has
        return self.penalise(input_ids, scores)


class Greedy(LogitsProcessor):
    """Notes the log-probability of the most probable token, which is the one that greedy decoding takes."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores.float().log_softmax(-1).amax(-1))
        return scores


class Drawn(LogitsProcessor):
    """Draws a token for each question and leaves no other, so that greedy decoding takes it; notes its log-probability.

    Each question has random numbers of its own, one per token, so its text doesn't depend on its batch, just as greedy
    text doesn't. The log-probability is that in the distribution drawn from. transformers' own sampling has no presence
    penalty.
    """

    def __init__(self, questions: Sequence[Question], prompt_tokens: int) -> None:
        sampling = questions[0].decoding.sampling
        self.penalty, self.prompt_tokens = sampling.presence_penalty, prompt_tokens
        self.streams = [torch.Generator().manual_seed(sampling.seed_of(question)) for question in questions]
        self.warp = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
        if sampling.top_k:
            self.warp.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self.warp.append(TopPLogitsWarper(sampling.top_p))
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.float()
        written = torch.zeros_like(scores).scatter_(1, input_ids[:, self.prompt_tokens :], 1.0)
        logprobs = self.warp(input_ids, scores - self.penalty * written).log_softmax(-1)
        below = logprobs.exp().cumsum(-1)
        shares = torch.cat([torch.rand(1, 1, generator=stream) for stream in self.streams]).to(below.device)
        # Rounding puts the sum a little off 1, and a draw near 1 would otherwise lie beyond the last token.
        whole = below[:, -1:]
        shares = (shares * whole).minimum(whole.nextafter(torch.zeros_like(whole)))
        tokens = torch.searchsorted(below, shares, right=True)
        self.steps.append(logprobs.gather(1, tokens)[:, 0])
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens, 0.0)
