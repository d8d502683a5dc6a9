"""The miniature's tokenizer: short answers take few tokens, and any text can be written.

Vocabulary: Qwen's special tokens, the 256 bytes, the fixed pieces of prompts and answers about the
known categories, and each whole number up to a largest one, once after "[" and once with its comma.
So an answer costs two tokens plus five per object. What is not in the vocabulary (other categories,
larger numbers, other languages) falls back to bytes.
"""

import re
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from vision_r1.processors import IMAGE, VIDEO
from vision_r1.prompts import DEFAULT, Templates

END, PAD = "<|im_end|>", "<|endoftext|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
SPECIAL_TOKENS = [PAD, "<|im_start|>", END, VISION_START, VISION_END, IMAGE, VIDEO]
NUMBER = r"(?<=\[)\d+|, \d+"


def answer_pieces(categories: Sequence[str], templates: Templates) -> set[str]:
    """Return what stands between the coordinates of answers: fences, brackets and labels in one piece."""
    box = [0, 0, 0, 0]
    pieces = {templates.answer([], [])}
    for label in categories:
        pieces.update(re.split(NUMBER, templates.answer([box, box], [label, label])))
    return pieces - {""}


def prompt_pieces(categories: Sequence[str], templates: Templates) -> set[str]:
    """Return what stands around the categories of prompts, the categories themselves and the turns' names."""
    mark = "\0"
    asked = [templates.ask("detection", [mark, mark]), *(templates.ask(task, [mark]) for task in ("grounding", "rec"))]
    fixed = mark.join([templates.system or "", *asked]).split(mark)
    return {*fixed, *categories, "user\n", "assistant\n", "\n"} - {""}


def make_tokenizer(
    categories: Sequence[str], largest_number: int, templates: Templates = DEFAULT
) -> PreTrainedTokenizerFast:
    """Build the tokenizer for a list of known categories and coordinates. Decoding gives back what was encoded."""
    pieces = sorted(
        answer_pieces(categories, templates) | prompt_pieces(categories, templates),
        key=lambda piece: (-len(piece), piece),
    )
    numbers = [f"{comma}{number}" for number in range(largest_number + 1) for comma in ("", ", ")]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokens = [*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens += [byte_level.pre_tokenize_str(text)[0][0] for text in [*pieces, *numbers]]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    # Without merges, a stretch of text is one token where the vocabulary has it whole, else its bytes.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    known = "|".join([NUMBER, *map(re.escape, pieces)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(known), "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in (END, PAD)],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
