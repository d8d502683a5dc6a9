"""Lengths of prompts and answers in tokens, by the model's own tokenizer and chat template."""

from collections.abc import Sequence
from pathlib import Path

from vision_r1.files import UserError


class ProcessorTokens:
    """Counts as the processor in `folder` does; it needs no weights. The image is counted by the family's rule."""

    def __init__(self, folder: str | Path) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: no tokenizer can be read from it ({str(error).splitlines()[0]})") from None
        if not self.tokenizer.chat_template:
            raise UserError(f"{folder}: its tokenizer has no chat template; take the folder of an instruct model")
        self._lengths: dict[str, int] = {}

    def prompts(self, texts: Sequence[str]) -> list[int]:
        """Return the lengths of whole prompts: the question in its turn, one image token, and the answer's opening."""
        new = [text for text in dict.fromkeys(texts) if text not in self._lengths]
        turns = [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for text in new
        ]
        self._lengths.update(zip(new, self._count(turns), strict=True))
        return [self._lengths[text] for text in texts]

    def answers(self, texts: Sequence[str]) -> list[int]:
        """Return the lengths of answers, each with its end token."""
        return [count + 1 for count in self._count(texts)]

    def _count(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        return [len(tokens) for tokens in self.tokenizer(list(texts), add_special_tokens=False).input_ids]
