"""Qwen3-VL: thousandths of width and height, patches of 16 x 16 merged 2 x 2."""

from vision_r1.families.family import Family

FAMILY = Family("qwen3_vl", "Qwen3VLProcessor", frame="rel1000", factor=32)
