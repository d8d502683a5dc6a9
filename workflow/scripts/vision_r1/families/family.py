"""What differs between model families for localisation, and nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One family of models, as transformers names it in config.json (`model_type`).

    frame: what its boxes are counted in, `pixel` or `rel1000` (see vision_r1.frames).
    processor: transformers' class for its processor; ours leaves the videos out (see vision_r1.processors).
    factor: side, in pixels, of the image cell behind one image token, patch x merge; the processor makes both
        image sides a multiple of it.
    never_sampled: tokens that only the processor may place. A policy that samples one puts a text with more
        image tokens than image features into the next forward pass, which fails.

    Prompts and the JSON of answers (vision_r1.prompts) are the same in all families; pixel limits are configuration.
    """

    name: str
    processor: str
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
