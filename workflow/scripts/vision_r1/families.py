"""Model families: what differs between them for localisation, and nothing else.

Each family declares the frame that it writes boxes in (see vision_r1.frames) and the side, in pixels,
of the image cell behind one image token; its processor makes both image sides a multiple of it.
"""

from dataclasses import dataclass

from vision_r1.files import UserError


@dataclass(frozen=True)
class Family:
    """`frame`: pixel or rel1000. `factor`: pixels, patch side x merge side. `never_sampled`: see below.

    never_sampled: tokens that only the processor may place. A policy that samples one puts a text with
    more image tokens than image features into the next forward pass, which fails.
    """

    name: str
    frame: str
    factor: int
    never_sampled: tuple[str, ...] = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")

    def input_size(self, width: int, height: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
        """Return (width, height), pixels, of the image as the model sees it, from the processor's own rule.

        Raises ValueError for an image more than 200 times as long as wide, which the processor refuses.
        """
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        input_height, input_width = smart_resize(height, width, self.factor, min_pixels, max_pixels)
        return input_width, input_height


FAMILIES = {
    known.name: known
    for known in (
        Family("qwen2_5_vl", frame="pixel", factor=28),
        Family("qwen3_vl", frame="rel1000", factor=32),
    )
}


def family(name: str) -> Family:
    """Return the family called `name`. Raises UserError naming those that are known."""
    if name not in FAMILIES:
        raise UserError(f"--family: {name!r} is not known; known: {', '.join(FAMILIES)}")
    return FAMILIES[name]
