"""A model, trainings and a setting so small that their memory and hours can be counted by hand."""

from vision_r1.preflight.architecture import Architecture
from vision_r1.preflight.batches import Batches
from vision_r1.preflight.memory import Setting

TOY = Architecture(
    parameters=1000,
    vision_parameters=200,
    head_parameters=80,
    linear=((10, 20), (20, 10)),
    layers=2,
    hidden=10,
    intermediate=20,
    queries=10,
    keys=5,
    vocabulary=8,
    vision_layers=3,
    vision_hidden=6,
    vision_intermediate=12,
    merge=4,
)
SFT = Batches("sft", steps=7, per_device=2, accumulation=3, processes=4, rows=100)
GRPO = Batches("strict/grpo_stage1", 7, 4, 6, 4, 100, group=4, micro_steps_per_generation=2)
SETTING = Setting("single", "float32", gradient_checkpointing=False, image_tokens=5, text_tokens=3, answer_tokens=2)


def setting(**changes):
    return Setting(**{**SETTING.__dict__, **changes})
