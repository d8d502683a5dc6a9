"""Where each token's text begins in an answer, for byte tokenizers: a character may take several tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1.evaluation.answers import AnswerReader, Decoding, Question, Sampling

END = 256


class Bytes:
    """A tokenizer with one token per byte, like BPE without merges."""

    calls = 0

    def decode(self, tokens, **_):
        self.calls += len(tokens)
        return bytes(token for token in tokens if token != END).decode(errors="replace")


def offsets(tokens):
    read = AnswerReader(Bytes(), [END]).read(tokens, [-0.5] * len(tokens))
    return read["completion"], [offset for offset, _ in read["tokens"]]


def test_a_character_begins_at_its_first_token():
    assert offsets([*"a狗b".encode(), END]) == ("a狗b", [0, 1, 1, 1, 2, 3])


@given(st.text(max_size=20))
def test_offsets_equal_the_lengths_of_decoded_prefixes(text):
    tokens = list(text.encode(errors="ignore"))
    begins = [len(bytes(tokens[:place]).decode(errors="ignore")) for place in range(len(tokens))]
    assert offsets([*tokens, END])[1][:-1] == begins


@given(st.lists(st.integers(0, 255), max_size=40))
def test_broken_characters_keep_offsets_in_order_and_within_the_text(tokens):
    text, found = offsets([*tokens, END])
    assert found == sorted(found)
    assert all(0 <= offset <= len(text) for offset in found)


@pytest.mark.parametrize("text", ["狗🐶".encode(), b"\xff", b"\xe7\x8b"])
def test_the_time_is_linear(text):
    tokenizers = [Bytes(), Bytes()]
    for tokenizer, times in zip(tokenizers, (100, 400), strict=True):
        tokens = list(text * times)
        AnswerReader(tokenizer, [END]).read(tokens, [0.0] * len(tokens))
    assert tokenizers[1].calls < 4.5 * tokenizers[0].calls


def test_what_follows_the_end_is_padding():
    reader = AnswerReader(Bytes(), [END])
    read = reader.read([*b"ab", END, 0, 0], [-1, -2, -3, -9, -9])
    assert (read["completion"], read["num_tokens"], read["truncated"], read["mean_logprob"]) == ("ab", 3, False, -2)
    assert read["tokens"] == [[0, -1], [1, -2], [2, -3]]
    assert reader.read([*b"ab"], [-1, -2])["truncated"]


def test_a_questions_seed_fits_every_generator():
    sampling, decoding = Sampling(1.0, 1.0, 0, 0.0, seed=0), Decoding(8, 1, 1)
    seeds = {sampling.seed_of(Question("a/b.png", str(number), decoding, 1, 1)) for number in range(50)}
    assert len(seeds) == 50 and max(seeds) < 2**63
    assert sampling.seed_of(Question("c/b.png", "0", decoding, 1, 1)) in seeds, "it does not depend on the folder"
