import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vision_r1.data.scenes import CATEGORIES
from vision_r1.miniature.tokenizer import SPECIAL_TOKENS, make_tokenizer
from vision_r1.prompts import DEFAULT, format_answer

LARGEST_NUMBER = 127
TOKENIZER = make_tokenizer(CATEGORIES, LARGEST_NUMBER)


@settings(deadline=None)
@given(st.text())
@example("traffic light, 1024, [4096] \U0001f600\n\t  x")
@example('```json\n[{"bbox_2d": [1, 23, 456, 7890], "label": "potted plant"}]\n```')
@example("0, 1,2 , 3,  4 [[5]] ,6")
def test_any_text_survives_the_round_trip(text):
    ids = TOKENIZER(text).input_ids
    assert TOKENIZER.decode(ids) == text


@pytest.mark.parametrize("objects, tokens", [(0, 1), (1, 6), (2, 11), (3, 16)])
def test_an_answer_takes_five_tokens_per_object(objects, tokens):
    boxes = [[0, 1, LARGEST_NUMBER, 84]] * objects
    assert len(TOKENIZER(format_answer(boxes, CATEGORIES[:objects])).input_ids) == tokens


def test_prompts_take_few_tokens():
    assert len(TOKENIZER(DEFAULT.ask("detection", CATEGORIES)).input_ids) == 7
    assert len(TOKENIZER(DEFAULT.ask("grounding", ["circle"])).input_ids) == 3


def test_special_tokens_are_single_and_can_be_left_out():
    for token in SPECIAL_TOKENS:
        assert len(TOKENIZER(token).input_ids) == 1
    ids = TOKENIZER("a<|im_end|><|endoftext|>").input_ids
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "a"
    assert TOKENIZER.eos_token == "<|im_end|>" and TOKENIZER.pad_token == "<|endoftext|>"


def test_a_saved_tokenizer_gives_the_same_tokens(tmp_path):
    from transformers import AutoTokenizer

    TOKENIZER.save_pretrained(tmp_path)
    text = format_answer([[1, 2, 3, 400]], ["traffic light"])
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(text).input_ids == TOKENIZER(text).input_ids and again.padding_side == "left"
