"""Train a checkpoint by GRPO with a reward for boxes, one stage of it, with TRL's GRPOTrainer.

Besides the arguments below, all fields of TRL's GRPOConfig are accepted under their own names. A training that was
interrupted resumes from its last whole checkpoint under --state when the same command runs again.

Example (the miniature, stage 1):
  python workflow/scripts/train_grpo.py --family qwen2_5_vl --init models/base/model --train_file data/train.jsonl \\
    --output_model grpo_stage1/model --output_metrics grpo_stage1/metrics.json \\
    --output_history grpo_stage1/history.jsonl \\
    --state grpo_stage1/state --min_pixels 784 --max_pixels 7840 --threads 1 --criterion strict \\
    --recall_threshold 0.5 --precision_low 0.5 --precision_high 0.75 --loss_type grpo --bf16 False \\
    --per_device_train_batch_size 128 --num_generations 8 --max_completion_length 40 --max_steps 100
On GPUs, put `accelerate launch` or `torchrun` in place of `python`.
"""

from collections.abc import Sequence
from dataclasses import asdict

from vision_r1.cli import run
from vision_r1.families import family
from vision_r1.files import UserError
from vision_r1.models import load_model
from vision_r1.objectives import generation_period, prompts_at_once
from vision_r1.processors import end_tokens, load_processor
from vision_r1.rewards import reward_functions
from vision_r1.training.dataset import grpo_dataset, read_rows


def parse_args(argv: Sequence[str] | None = None) -> tuple:
    """Return (GRPOArguments, Guards, Criterion or ZooReward, GRPOConfig)."""
    from vision_r1.training.grpo import parse

    return parse(argv, __doc__)


def main(argv: Sequence[str] | None = None) -> None:
    """Check, load, train, save. TRL seeds every generator with --seed when the trainer is built."""
    from trl import GRPOTrainer

    from vision_r1.cuda_graphs import replay_decoding
    from vision_r1.positions import position_once
    from vision_r1.training.arguments import refused_by_trl
    from vision_r1.training.fused_head import score_only_completions
    from vision_r1.training.grpo import (
        check_batch,
        completion_limit,
        generation_settings,
        only_ends,
        prompts_per_step,
    )
    from vision_r1.training.lora import lora_config
    from vision_r1.training.outputs import save
    from vision_r1.training.recording import SampleCompletions
    from vision_r1.training.sampling import engine_folder, never_sampled, seed_again, show_images_once
    from vision_r1.training.sharing import share_forward, share_processing
    from vision_r1.training.stage import prepare, train
    from vision_r1.vision_encoder import speed_up_encoder

    arguments, guards, criterion, config = parse_args(argv)
    model_family = family(arguments.family)
    rows = read_rows(arguments.train_file, model_family, arguments.min_pixels, arguments.max_pixels)
    check_batch(config, len(rows), arguments.stop_at)
    processor = load_processor(arguments.init, model_family, arguments.min_pixels, arguments.max_pixels)
    if arguments.completion_room:
        config.max_completion_length = completion_limit(rows, processor.tokenizer, arguments.completion_room)
    stage = prepare(arguments, config, __file__, criterion=asdict(criterion), share_copies=arguments.share_copies)

    model = load_model(stage.weights, arguments.dtype)
    if config.cast_lm_head_to_fp32 and model.config.tie_word_embeddings:
        raise UserError(f"--cast_lm_head_to_fp32: {stage.weights} has its embeddings as its output layer; leave it out")
    # transformers would fill in what TRL leaves open (min_p, beams), and sample other completions. A checkpoint of a
    # training has only these; what is saved in the end comes from --init.
    shipped = generation_settings(arguments.init) or model.generation_config
    ends = end_tokens(shipped, processor.tokenizer)  # at which TRL stops, too
    if ends != [shipped.eos_token_id]:
        shipped.eos_token_id = ends
    model.generation_config = only_ends(model.generation_config)
    # TRL loads the reference of the KL term from here; it stays put when the weights are a checkpoint's.
    model.config._name_or_path = arguments.reference
    forbidden = processor.tokenizer.convert_tokens_to_ids(list(model_family.never_sampled))
    config.generation_kwargs = never_sampled(forbidden, config.use_vllm, config.generation_kwargs or {})
    colocated = config.use_vllm and config.vllm_mode == "colocate"
    if colocated:
        model.name_or_path = engine_folder(stage.weights, processor, f"{config.output_dir}/engine")

    score_only_completions()
    replay_decoding(model)
    if arguments.share_copies:
        pixels = share_processing(processor)
        share_forward(model, pixels)
    sampled = config.per_device_train_batch_size * config.steps_per_generation
    with refused_by_trl():
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward_functions(criterion, criterion.part_weights(config.reward_weights)),
            args=config,
            train_dataset=grpo_dataset(rows, kept=prompts_at_once(sampled, config.num_generations)),
            processing_class=processor,
            peft_config=lora_config(arguments),
        )
    if colocated:
        seed_again(config)
        show_images_once(trainer.vllm_generation, processor.image_token_id)
    if trainer.ref_model is not None:
        reference = position_once(speed_up_encoder(trainer.accelerator.unwrap_model(trainer.ref_model)))
        if arguments.share_copies:
            share_forward(reference, pixels)
    trainer.add_callback(SampleCompletions(trainer, arguments.sample_steps, arguments.sample_count))
    prompts = prompts_per_step(config)
    train(trainer, stage, guards, prompts * config.num_generations, period=generation_period(vars(config)))
    model.generation_config = shipped  # is saved with the model
    save(trainer, stage, prompts_per_step=prompts)


if __name__ == "__main__":
    run(main)
