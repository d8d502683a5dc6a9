"""What GRPO needs besides TRL's trainer: its arguments, and the arithmetic of its batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.generation.configuration_utils import ALL_CACHE_IMPLEMENTATIONS
from trl import GRPOConfig

from vision_r1.families import family
from vision_r1.files import UserError
from vision_r1.models import check_checkpoint
from vision_r1.objectives import check_dropout, check_objective, generation_period
from vision_r1.rewards import CRITERIA, Criterion, configured_parts
from vision_r1.training.arguments import StageArguments, StageParser
from vision_r1.training.dataset import Row
from vision_r1.training.guards import Guards
from vision_r1.training.sampling import check_vllm
from vision_r1.zoo import ZOO, ZooReward


@dataclass(kw_only=True)
class GRPOArguments(StageArguments):
    """Arguments of a GRPO stage, besides those of its criterion and GRPOConfig."""

    reference: str | None = field(
        default=None, metadata={"help": "checkpoint folder that the KL term (--beta) holds on to; default: --init"}
    )

    share_copies: bool = field(
        default=True, metadata={"help": "encode an image, and read a prompt, once for all its completions"}
    )
    sample_steps: int = field(
        default=100, metadata={"help": "steps between completions that --output_completions keeps"}
    )
    sample_count: int = field(default=8, metadata={"help": "completions kept at such a step: the first of its batch"})
    completion_room: float | None = field(
        default=None,
        metadata={
            "help": "longest completion as a multiple of the longest right answer of the training file, in tokens; "
            "in place of --max_completion_length"
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reference = self.reference or self.init
        check_checkpoint(self.reference, family(self.family))

    @property
    def frozen(self) -> str:
        """The folder of the weights beside which adapters are trained: `init` of a later stage has them merged."""
        return self.reference if self.continue_from else self.init

    def parents(self) -> list[str]:
        """Return the checkpoint folders whose weights decide the result."""
        return [*super().parents(), self.reference]


@dataclass
class CriterionName:
    """A criterion by name: the defaults of the flags of Criterion, or a reward of another method, which has none."""

    criterion: str = field(
        default="released_2025",
        metadata={
            "help": f"what the rewards measure: {', '.join(CRITERIA)}, whose parts the flags below change; or, without "
            f"them, {', '.join(ZOO)}"
        },
    )

    def __post_init__(self) -> None:
        if self.criterion not in (*CRITERIA, *ZOO):
            raise UserError(f"--criterion: unknown {self.criterion!r}; choose {', '.join((*CRITERIA, *ZOO))}")


def parse(
    argv: Sequence[str] | None, docstring: str
) -> tuple[GRPOArguments, Guards, Criterion | ZooReward, GRPOConfig]:
    """Read the arguments: first the criterion's name, then all, with its parts as defaults.

    Thresholds have no default: they are the stage's. The config has a weight for each part that is rewarded.
    """
    name, *_ = StageParser((CriterionName,), docstring, add_help=False).parse(argv, unknown=True)
    if name.criterion in ZOO:
        parser = StageParser((GRPOArguments, Guards, CriterionName, GRPOConfig), docstring)
        arguments, guards, _, config = parser.parse(argv)
        criterion = ZooReward(name.criterion)
    else:
        parser = StageParser((GRPOArguments, Guards, CriterionName, Criterion, GRPOConfig), docstring)
        parser.set_defaults_with_config(**configured_parts(name.criterion))
        arguments, guards, _, criterion, config = parser.parse(argv)
    try:
        config.reward_weights = list(criterion.part_weights(config.reward_weights).values())
    except ValueError as error:
        raise UserError(f"--{error}") from None
    check_vllm(config)
    check_objective(vars(config), "--")
    _check_reference(arguments, config.beta)
    if arguments.lora_r is not None:
        check_dropout(arguments.lora_dropout, {**vars(config), **vars(arguments)}, "--lora_dropout")
    unknown = sorted({*(config.generation_kwargs or ())} - vars(GenerationConfig()).keys())
    if unknown and not config.use_vllm:
        raise UserError(f"--generation_kwargs: {unknown[0]!r} is not a setting of transformers' generation")
    if config.cache_implementation not in (None, *ALL_CACHE_IMPLEMENTATIONS):
        known = ", ".join(ALL_CACHE_IMPLEMENTATIONS)
        raise UserError(f"--cache_implementation: unknown {config.cache_implementation!r}; choose {known}")
    if not 0 < config.temperature < math.inf:
        raise UserError(f"--temperature {config.temperature}: completions are sampled, so give more than 0")
    for name, value in (
        ("completion_room", arguments.completion_room),
        ("max_completion_length", config.max_completion_length),
    ):
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{name} {value}: must be a number above 0")
    if arguments.sample_steps < 1 or arguments.sample_count < 0:
        raise UserError(f"--sample_steps {arguments.sample_steps} --sample_count {arguments.sample_count}: too small")
    return arguments, guards, criterion, config


def _check_reference(arguments: GRPOArguments, beta: float) -> None:
    """Raise UserError for a reference that adapters can't have: theirs is the frozen weights, adapters off."""
    if arguments.lora_r is None or not beta or arguments.continue_from:
        return
    if Path(arguments.reference).resolve() != Path(arguments.init).resolve():
        raise UserError(
            f"--reference {arguments.reference}: with --lora_r, the KL term holds on to --init; leave --reference out, "
            "give --beta 0, or train all weights"
        )


def generation_settings(folder: str | Path) -> GenerationConfig | None:
    """Return the generation settings in a model's folder, None where it has none."""
    found = (Path(folder) / "generation_config.json").is_file()
    return GenerationConfig.from_pretrained(folder) if found else None


def only_ends(settings: GenerationConfig) -> GenerationConfig:
    """Return a checkpoint's generation settings without those that decide what is sampled."""
    ends = ("bos_token_id", "eos_token_id", "pad_token_id")
    return GenerationConfig(**{name: getattr(settings, name) for name in ends})


def completion_limit(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, room: float) -> int:
    """Return the longest completion, in tokens: `room` times the longest right answer with its end token."""
    answers = tokenizer([row["answer"] for row in rows]).input_ids
    return math.ceil(room * (max(map(len, answers)) + 1))


def prompts_per_step(config: GRPOConfig) -> float:
    """Return how many new prompts an optimiser step sees, over all processes (TRL counts completions)."""
    completions = config.per_device_train_batch_size * config.world_size * config.gradient_accumulation_steps
    return completions / (config.num_generations * config.num_iterations)


def check_batch(config: GRPOConfig, rows: int, stop_at: int | None) -> None:
    """Raise UserError for batches that leave nothing to train on, or checkpoints that can't be resumed exactly."""
    prompts = config.generation_batch_size // config.num_generations
    if rows < prompts:
        raise UserError(
            f"--train_file: {rows} rows, but one generation takes {prompts} prompts "
            f"({config.generation_batch_size} completions in groups of {config.num_generations}); give smaller batches"
        )
    period = generation_period(vars(config))
    saved = config.save_steps if config.save_strategy == "steps" else 0
    for flag, steps in (("save_steps", saved), ("stop_at", stop_at or 0)):
        if steps % period:
            raise UserError(
                f"--{flag} {steps:g}: completions are sampled again every {period} steps "
                "and a checkpoint does not keep them; give a multiple"
            )
