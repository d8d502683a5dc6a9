"""Three ways to take GRPO steps on synthetic scenes with random weights, each with a clock on its parts.

ours: TRL's trainer with what copies of a prompt can share; trl: TRL's trainer left as it is; released: the way the
released code trains, written from a description: one prompt at a time with its completions sampled in one batch
(transformers' default top_k of 50), one image-processor call a prompt, the vision encoder run on every copy of the
image in the policy's and the reference's pass, the reference model always, an optimiser step every few prompts.
"""

import argparse
import gc
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from PIL import Image
from transformers import PrinterCallback, Qwen2_5_VLForConditionalGeneration, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig, GRPOTrainer

from vision_r1.cuda_graphs import replay_decoding
from vision_r1.data.worlds import WORLDS
from vision_r1.miniature.processor import make_processor
from vision_r1.models import load_model
from vision_r1.positions import position_once
from vision_r1.resources import peak_rss_mb
from vision_r1.rewards import Criterion, reward_functions
from vision_r1.training.dataset import grpo_dataset
from vision_r1.training.fused_head import score_only_completions
from vision_r1.training.sharing import share_forward, share_processing
from vision_r1.vision_encoder import speed_up_encoder

WARM_UP = 8  # tokens of a completion in a step that does not count
PARTS = ("generation", "log-probabilities", "backward", "image processing", "reward", "data", "other")
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L4": 121e12, "RTX 4090": 165e12}  # bfloat16, dense


disable_progress_bar()


class Clock:
    """Seconds by part; time within an inner part does not count for the outer one."""

    def __init__(self, device: str) -> None:
        self.device, self.steps, self.stack = device, [], []

    @contextmanager
    def step(self):
        self.now = defaultdict(float)
        with self.part("other"):
            yield
        self.steps.append(self.now)
        if self.device == "cuda":
            sys.stderr.write(f"step {len(self.steps)}: {sum(self.now.values()):.1f} s\n")

    @contextmanager
    def part(self, name):
        began = self._time()
        self.stack.append(0.0)
        yield
        seconds = self._time() - began
        self.now[name] += seconds - self.stack.pop()
        if self.stack:
            self.stack[-1] += seconds
            if self.device == "cuda" and seconds > 1:  # not lost if the command is cut
                sys.stderr.write(f"  {name}: {seconds:.1f} s\n")

    def around(self, owner, method, name):
        """Count calls of owner.method as part `name`."""
        function = getattr(owner, method)

        def timed(*args, **kwargs):
            with self.part(name):
                return function(*args, **kwargs)

        setattr(owner, method, timed)

    def _time(self):
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def generation(args: argparse.Namespace, processor: Any) -> dict[str, Any]:
    """Return sampling options that make every completion args.length tokens long."""
    forbidden = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    return {
        "min_new_tokens": args.length,
        "suppress_tokens": processor.tokenizer.convert_tokens_to_ids(forbidden),
    }


def with_trl(folder: str, rows: Sequence[Mapping[str, Any]], args: argparse.Namespace, shared: bool) -> tuple:
    """Return (clock, function that takes steps) for TRL's trainer, alone or with what copies of a prompt can share."""
    processor = make_processor(WORLDS["miniature"])
    processor.image_processor.size = args.limits
    load = load_model if shared else Qwen2_5_VLForConditionalGeneration.from_pretrained
    model = load(folder, dtype=args.dtype)
    config = GRPOConfig(
        output_dir=f"{folder}/state",
        per_device_train_batch_size=args.micro or args.prompts * args.generations,
        gradient_accumulation_steps=args.prompts * args.generations // args.micro if args.micro else 1,
        num_generations=args.generations,
        max_completion_length=args.length,
        generation_kwargs=generation(args, processor),
        max_steps=args.steps,
        beta=args.beta,
        loss_type="grpo",
        gradient_checkpointing=args.size != "miniature",
        bf16=args.dtype == "bfloat16",
        use_cpu=args.device == "cpu",
        top_k=0,
        learning_rate=1e-6,
        save_strategy="no",
        logging_steps=10**6,
        disable_tqdm=True,
        **(args.options if shared else {}),
    )
    if shared:
        score_only_completions()
        pixels = share_processing(processor)
        replay_decoding(model)
        share_forward(model, pixels)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward_functions(Criterion.named("released_2025", "stage1")),
        args=config,
        train_dataset=grpo_dataset(rows) if shared else plain_dataset(rows),
        processing_class=processor,
        peft_config=adapters(args.lora_r),
    )
    if shared and trainer.ref_model is not None:
        share_forward(position_once(speed_up_encoder(trainer.ref_model)), pixels)
    clock = Clock(args.device)
    clock.around(trainer, "_generate_single_turn", "generation")
    clock.around(trainer, "_tokenize_prompts", "image processing")
    clock.around(processor.image_processor, "preprocess", "image processing")
    clock.around(trainer, "_get_per_token_logps_and_entropies", "log-probabilities")
    clock.around(trainer, "_calculate_rewards", "reward")
    clock.around(trainer, "get_batch_samples", "data")
    clock.around(trainer.accelerator, "backward", "backward")

    def write(length):
        """Let the trainer's completions have this many tokens."""
        trainer.generation_kwargs["min_new_tokens"] = length
        trainer.generation_config.update(min_new_tokens=length, max_new_tokens=length)

    class Steps(TrainerCallback):
        """From one step's end to the next one's: the data of a step is read before it begins.

        The first one does not count, and on a GPU writes a few tokens only.
        """

        def on_train_begin(self, *_, **__):
            if args.device == "cuda":
                write(WARM_UP)
            self.begin()

        def begin(self):
            self.step = clock.step()
            self.step.__enter__()

        def on_step_end(self, *_, **__):
            self.step.__exit__(None, None, None)
            write(args.length)
            self.begin()

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Steps())
    return clock, trainer.train


def plain_dataset(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return the rows with images as TRL's users have them: decoded again for every copy."""
    from datasets import Image as ImageColumn

    return grpo_dataset(rows).with_format(None).cast_column("image", ImageColumn(mode="RGB"))


def released(folder: str, rows: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> tuple:
    """Return (clock, function that takes steps) for the way of the released code."""
    processor = make_processor(WORLDS["miniature"])
    processor.image_processor.size = args.limits
    policy, reference = (
        Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=args.dtype).to(args.device) for _ in range(2)
    )
    policy.train()
    if args.size != "miniature":
        policy.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6)
    rewards = reward_functions(Criterion.named("released_2025", "stage1"))
    clock = Clock(args.device)
    options = {"max_new_tokens": args.length, "do_sample": True, "top_k": 50, **generation(args, processor)}

    def logprobs(model, sequences, inputs, length):
        copies = {
            "pixel_values": inputs["pixel_values"].repeat(args.generations, 1),
            "image_grid_thw": inputs["image_grid_thw"].repeat(args.generations, 1),
            "mm_token_type_ids": (sequences == processor.image_token_id).int(),
        }
        logits = model(input_ids=sequences, **copies).logits[:, :-1]
        chosen = [  # row by row: the whole would not fit in memory at full size
            row.log_softmax(-1).gather(1, ids[:, None])[:, 0] for row, ids in zip(logits, sequences[:, 1:], strict=True)
        ]
        return torch.stack(chosen)[:, -length:]

    def prompt_loss(row):
        with clock.part("data"), Image.open(row["image"]) as file:
            image = file.convert("RGB")
        with clock.part("image processing"):
            content = [{"type": "image"}, {"type": "text", "text": row["prompt"]}]
            text = processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
            inputs = processor(images=[image], text=[text], return_tensors="pt").to(args.device)
        with clock.part("generation"), torch.no_grad():
            sequences = policy.generate(**inputs, num_return_sequences=args.generations, **options)
        length = sequences.shape[1] - inputs["input_ids"].shape[1]
        with clock.part("log-probabilities"):
            own = logprobs(policy, sequences, inputs, length)
            with torch.inference_mode():
                other = logprobs(reference, sequences, inputs, length)
        texts = processor.batch_decode(sequences[:, -length:], skip_special_tokens=True)
        with clock.part("reward"):
            columns = {name: [value] * args.generations for name, value in row.items()}
            score = torch.tensor([function(texts, **columns) for function in rewards], device=args.device).sum(0)
        advantages = (score - score.mean()) / (score.std() + 1e-4)
        kl = torch.exp(other - own) - (other - own) - 1
        return -(torch.exp(own - own.detach()) * advantages[:, None] - 0.04 * kl).mean(1).mean()

    def steps():
        for _ in range(args.steps):
            with clock.step():
                for number, row in enumerate(rows, start=1):
                    loss = prompt_loss(row) / args.released_accumulation
                    with clock.part("backward"):
                        loss.backward()
                    if number % args.released_accumulation == 0:
                        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
                        optimizer.step()
                        optimizer.zero_grad()

    return clock, steps


def adapters(rank: int | None) -> Any:
    if rank is None:
        return None
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=32, target_modules="all-linear")


@dataclass
class Measured:
    """An arm's steps, seconds by part, without the first of each turn, and its peak memory in MB."""

    steps: list[Mapping[str, float]]
    memory: float

    @property
    def best(self) -> Mapping[str, float]:
        return min(self.steps, key=lambda step: sum(step.values()))


def measure(folder: str, rows: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> dict[str, Measured | None]:
    """Return each arm's figures; None where the GPU's memory did not suffice.

    On the CPU the arms take turns, so that a busy machine slows all of them alike; a GPU holds one arm at a time.
    """
    make: dict[str, Callable[[], tuple]] = {
        "ours": lambda: with_trl(folder, rows, args, shared=True),
        "trl": lambda: with_trl(folder, rows, args, shared=False),
        "released": lambda: released(folder, rows, args),
    }
    if args.device == "cpu":
        arms = {name: make[name]() for name in args.arms}
        for _ in range(args.rounds):
            for _, take_steps in arms.values():
                take_steps()
        return {name: Measured(clock.steps[1:], peak_rss_mb()) for name, (clock, _) in arms.items()}
    found: dict[str, Measured | None] = {}
    for name in args.arms:
        torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        try:
            clock, take_steps = make[name]()
            sys.stderr.write(f"{name}: made in {time.perf_counter() - began:.0f} s\n")
            for _ in range(args.rounds):
                take_steps()
            found[name] = Measured(clock.steps[1:], torch.cuda.max_memory_allocated() / 2**20)
        except torch.cuda.OutOfMemoryError:
            found[name] = None
        one = found[name]
        seconds = one and {part: round(value, 2) for part, value in one.best.items()}
        sys.stderr.write(f"{name}: {f'{seconds}, peak {one.memory:.0f} MB' if one else 'no memory'}\n")
        clock = take_steps = None  # the trainer, before the next one is built
        gc.collect()
        torch.cuda.empty_cache()
    return found


def table(found: Mapping[str, Measured | None], flops: float, args: argparse.Namespace) -> str:
    """Return an arm a column: seconds of the fastest step by part, speeds, memory."""
    completions = args.prompts * args.generations

    def line(title: str, value: Callable[[Measured], str]) -> str:
        cells = (f"{'no memory' if one is None else value(one):>10s}" for one in found.values())
        return f"{title:37s}" + "".join(cells) + "\n"

    def total(one: Measured) -> float:
        return sum(one.best.values())

    text = f"{'seconds of the fastest step, by part':37s}" + "".join(f"{name:>10s}" for name in found) + "\n"
    for part in PARTS:
        text += line(f"  {part}", lambda one, part=part: f"{one.best.get(part, 0.0):.3f}")
    text += line("  whole step", lambda one: f"{total(one):.3f}")
    text += line("completions/s", lambda one: f"{completions / total(one):.1f}")
    text += line("tokens/s", lambda one: f"{completions * args.length / total(one):.0f}")
    if args.device == "cpu":
        return text + line("peak memory of the process so far, MB", lambda one: f"{one.memory:.0f}")
    text += line("peak GPU memory, MB", lambda one: f"{one.memory:.0f}")
    card = torch.cuda.get_device_name()
    most = next((value for key, value in PEAK_FLOPS.items() if key in card), None)
    used = (lambda one: f"{flops / total(one) / most:.1%}") if most else (lambda one: "unknown")
    return text + line("model FLOP utilisation", used)
