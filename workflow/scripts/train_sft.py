"""Train a checkpoint on the ground truth answers (supervised fine-tuning) with TRL's SFTTrainer.

Besides the arguments below, all fields of TRL's SFTConfig are accepted under their own names. A training that was
interrupted resumes from its last whole checkpoint under --state when the same command runs again.

Example (the miniature):
  python workflow/scripts/train_sft.py --family qwen2_5_vl --init models/base/model --train_file data/train.jsonl \\
    --output_model models/sft/model --output_metrics models/sft/metrics.json \\
    --output_history models/sft/history.jsonl \\
    --state models/sft/state --min_pixels 784 --max_pixels 7840 --threads 1 --max_steps 150 --bf16 False
On GPUs, put `accelerate launch` or `torchrun` in place of `python`.
"""

from collections.abc import Sequence

from vision_r1.cli import run
from vision_r1.families import family
from vision_r1.files import UserError
from vision_r1.models import load_model
from vision_r1.processors import load_processor
from vision_r1.training.dataset import check_answers_fit, read_rows, sft_dataset


def parse_args(argv: Sequence[str] | None = None) -> tuple:
    """Return (StageArguments, Guards, SFTConfig)."""
    from trl import SFTConfig

    from vision_r1.training.arguments import StageArguments, StageParser
    from vision_r1.training.guards import Guards

    parser = StageParser((StageArguments, Guards, SFTConfig), __doc__)
    # TRL's default, 1024 tokens, would cut the boxes off long answers.
    parser.set_defaults_with_config(max_length=None)
    arguments, guards, config = parser.parse(argv)
    if config.pad_to_multiple_of:
        raise UserError("--pad_to_multiple_of: TRL's SFT has it for texts without images only; leave it out")
    if config.activation_offloading and config.use_cpu:
        raise UserError("--activation_offloading: needs a GPU; leave it out with --use_cpu")
    return arguments, guards, config


def main(argv: Sequence[str] | None = None) -> None:
    """Check, load, train, save. TRL seeds every generator with --seed when the trainer is built."""
    from trl import SFTTrainer

    from vision_r1.training.arguments import refused_by_trl
    from vision_r1.training.lora import lora_config
    from vision_r1.training.outputs import save
    from vision_r1.training.stage import prepare, train

    arguments, guards, config = parse_args(argv)
    model_family = family(arguments.family)
    rows = read_rows(arguments.train_file, model_family, arguments.min_pixels, arguments.max_pixels)
    processor = load_processor(arguments.init, model_family, arguments.min_pixels, arguments.max_pixels)
    check_answers_fit(rows, processor, model_family, config.max_length)
    stage = prepare(arguments, config, __file__)

    model = load_model(stage.weights, arguments.dtype)
    with refused_by_trl():
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=sft_dataset(rows),
            processing_class=processor,
            peft_config=lora_config(arguments),
        )
    # Otherwise each micro-batch has its own mean: transformers counts the tokens of a step only for models whose loss
    # takes the number, and the loss of these models doesn't. TRL's, which is used here, does.
    trainer.model_accepts_loss_kwargs = config.average_tokens_across_devices
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.world_size
    train(trainer, stage, guards, samples_per_step=batch)
    save(trainer, stage, prompts_per_step=batch)


if __name__ == "__main__":
    run(main)
