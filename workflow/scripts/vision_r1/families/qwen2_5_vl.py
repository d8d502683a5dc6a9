"""Qwen2.5-VL: absolute pixels of the resized image, patches of 14 x 14 merged 2 x 2."""

from vision_r1.families.family import Family

FAMILY = Family("qwen2_5_vl", "Qwen2_5_VLProcessor", frame="pixel", factor=28)
