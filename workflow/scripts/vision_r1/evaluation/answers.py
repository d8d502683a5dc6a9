"""Questions and answers as every generation backend has them; nothing here needs torch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# The fewest questions per call of a backend: vLLM makes its own batches, and each call waits for its longest answer.
BACKENDS = {"transformers": 1, "vllm": 512}
MOST_BYTES = 4  # of a character in UTF-8, each a token at worst


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: in turn, a penalty on tokens the answer already has, temperature, top_k (0: off), top_p."""

    temperature: float
    top_p: float
    top_k: int
    presence_penalty: float
    seed: int

    def seed_of(self, question: "Question") -> int:
        """Return the seed of one question's random numbers. It depends neither on the batch nor on the folder."""
        text = f"{self.seed} {Path(question.path).name} {question.prompt}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


@dataclass(frozen=True)
class Decoding:
    """What the questions of one batch share.

    In order: most new tokens of a completion; fewest and most pixels of an image as the model sees it; sampling, None
    for greedy; penalty on tokens that prompt or answer already have, 1 for none.
    """

    max_new_tokens: int
    min_pixels: int
    max_pixels: int
    sampling: Sampling | None = None
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class Question:
    """All that decides a completion; `input_width` and `input_height` are the image's as the model sees it."""

    path: str
    prompt: str
    decoding: Decoding
    input_width: int
    input_height: int
    system: str | None = None


class AnswerReader:
    """Turns generated tokens into answers: `tokenizer` of transformers, `ends` the ids that end a completion."""

    def __init__(self, tokenizer: Any, ends: Sequence[int]) -> None:
        self.tokenizer, self.ends = tokenizer, frozenset(ends)
        self.piece = cache(lambda token: self._decode([token]))

    def read(self, tokens: Sequence[int], logprobs: Sequence[float]) -> dict[str, Any]:
        """Return the answer of one row of tokens, which may be padded after its end.

        {completion; num_tokens: all that were generated, end token included; truncated: no end token was generated;
        mean_logprob: of all tokens; tokens: [[offset of its text in the completion, log-probability], ...]}.
        """
        end = next((place for place, token in enumerate(tokens) if token in self.ends), None)
        count = len(tokens) if end is None else end + 1
        tokens, logprobs = tokens[:count], [round(value, 4) for value in logprobs[:count]]
        pieces = [self.piece(token) for token in tokens]
        text = self._decode(tokens)
        if "".join(pieces) == text:
            offsets = [0]
            for piece in pieces[:-1]:
                offsets.append(offsets[-1] + len(piece))
        else:
            offsets = self._offsets(tokens, text)
        return {
            "completion": text,
            "num_tokens": count,
            "truncated": end is None,
            "mean_logprob": round(sum(logprobs) / count, 4),
            "tokens": [list(pair) for pair in zip(offsets, logprobs, strict=True)],
        }

    def _offsets(self, tokens: Sequence[int], text: str) -> list[int]:
        """Return where each token's text begins, also where one character takes several tokens.

        Such a character begins at its first token. Decoding restarts after the last whole character, which takes
        linear time, and gives up on bytes that never make up a character.
        """
        offsets, begin, known = [], 0, 0
        for place in range(len(tokens)):
            piece = self._decode(tokens[begin:place])
            whole = not piece.endswith("\ufffd") or place - begin >= MOST_BYTES
            offsets.append(min(known + len(piece if whole else piece.rstrip("\ufffd")), len(text)))
            if whole:
                begin, known = place, known + len(piece)
        return offsets

    def _decode(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
