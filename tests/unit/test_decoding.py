"""Tokens are drawn from the right distribution, for each question with its own random numbers."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from vision_r1.evaluation.answers import Decoding, Question, Sampling
from vision_r1.evaluation.decoding import Drawn, Greedy, RepetitionPenalty

SAMPLING = Sampling(temperature=0.7, top_p=1.0, top_k=0, presence_penalty=0.0, seed=42)
SCORES = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.5]])


def questions(count, **changes):
    decoding = Decoding(5, 1, 2, replace(SAMPLING, **changes))
    return [Question(f"folder/{number}.png", "Where?", decoding, 28, 28) for number in range(count)]


def draw(count, written=(), **changes):
    """Return the first token of each of `count` questions with the same scores, and its log-probability."""
    chosen = Drawn(questions(count, **changes), prompt_tokens=2)
    ids = torch.tensor([[4, 4, *written]]).expand(count, -1)
    scores = chosen(ids, SCORES.expand(count, -1))
    assert ((scores == 0).sum(1) == 1).all() and scores.isinf().sum() == count * 4
    return scores.argmax(1), chosen.steps[0]


def test_tokens_are_as_frequent_as_they_are_probable():
    tokens, logprobs = draw(20_000)
    expected = (SCORES[0] / 0.7).softmax(0)
    assert torch.allclose(tokens.bincount(minlength=5) / 20_000, expected, atol=0.015)
    assert torch.allclose(logprobs, expected.log()[tokens], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "left"), [({"top_k": 2}, {0, 4}), ({"top_p": 0.6}, {0, 4}), ({"temperature": 0.01}, {0})]
)
def test_tokens_that_are_cut_off_are_never_drawn(changes, left):
    assert set(draw(2000, **changes)[0].tolist()) == left


def test_tokens_of_the_answer_are_penalised_once_and_those_of_the_prompt_are_not():
    _, logprobs = draw(2000, written=[0, 0], presence_penalty=1.5)
    tokens, _ = draw(2000, written=[0, 0], presence_penalty=1.5)
    penalised = SCORES[0] - torch.tensor([1.5, 0, 0, 0, 0])
    assert torch.allclose(logprobs, (penalised / 0.7).log_softmax(0)[tokens], atol=1e-6)


def test_a_questions_tokens_depend_on_image_and_seed_but_not_on_batch_or_folder():
    alone = Drawn(questions(3)[1:2], prompt_tokens=2)
    together = Drawn([replace(each, path=f"elsewhere/{each.path}") for each in questions(3)], prompt_tokens=2)
    other = Drawn(questions(3, seed=43)[1:2], prompt_tokens=2)
    drawn = {"alone": [], "together": [], "other": []}
    for _ in range(20):
        drawn["alone"].append(int(alone(torch.tensor([[4, 4]]), SCORES).argmax()))
        drawn["together"].append(int(together(torch.tensor([[4, 4]] * 3), SCORES.expand(3, -1)).argmax(1)[1]))
        drawn["other"].append(int(other(torch.tensor([[4, 4]]), SCORES).argmax()))
    assert drawn["alone"] == drawn["together"] != drawn["other"]


def test_greedy_records_the_most_probable_tokens_log_probability():
    greedy = Greedy()
    assert greedy(torch.tensor([[4, 4]]), SCORES) is SCORES
    assert greedy.steps[0].item() == pytest.approx(SCORES[0].log_softmax(0)[0].item())


def test_the_repetition_penalty_is_transformers_own_apart_from_padding():
    from transformers import RepetitionPenaltyLogitsProcessor

    prompts, padded = torch.tensor([[1, 3], [2, 3]]), torch.tensor([[0, 1, 3], [4, 2, 3]])
    mask, scores = torch.tensor([[0, 1, 1]]).expand(2, -1), SCORES.expand(2, -1)
    for answer in (torch.empty(2, 0, dtype=int), torch.tensor([[4], [0]])):
        tokens, others = (torch.cat([ids, answer], 1) for ids in (padded, prompts))
        expected = RepetitionPenaltyLogitsProcessor(1.05)(others, scores)
        assert torch.equal(RepetitionPenalty(1.05, mask)(tokens, scores), expected)
    assert expected[0].tolist() == pytest.approx([2.0, 1.0 / 1.05, 0.0, -1.05, 1.5 / 1.05])


def test_vllm_gets_the_same_sampling_parameters():
    from vision_r1.evaluation.vllm_generation import VllmGenerator

    generator = object.__new__(VllmGenerator)
    generator.vllm, generator.never, generator.ends = SimpleNamespace(SamplingParams=dict), {7: -100.0}, [3, 4]
    sampled, greedy = questions(1, presence_penalty=1.5)[0], Question("a.png", "?", Decoding(5, 1, 2), 28, 28)
    shared = {"max_tokens": 5, "stop_token_ids": [3, 4], "logprobs": 0, "logit_bias": {7: -100.0}}
    assert generator._settings(greedy) == {"temperature": 0.0} | shared
    penalised = replace(greedy, decoding=replace(greedy.decoding, repetition_penalty=1.05))
    assert generator._settings(penalised) == {"temperature": 0.0, "repetition_penalty": 1.05} | shared
    own = {"temperature": 0.7, "top_p": 1.0, "top_k": 0, "presence_penalty": 1.5}
    assert generator._settings(sampled) == own | {"seed": sampled.decoding.sampling.seed_of(sampled)} | shared
