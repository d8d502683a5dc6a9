"""Where the time of a GRPO step goes: ours, TRL's trainer left as it is, and the way the released code trains.

released: one prompt at a time with its completions sampled in one batch (transformers' default top_k of 50), one
image-processor call a prompt, the vision encoder run on every copy of the image in the policy's and the reference's
pass, the reference model always, an optimiser step a prompt (as launched on 16 GPUs). Written from a description; same
model, prompts, completions' length and reward. All weights are random and every completion has --length tokens.
Figures are each arm's fastest step.

Examples:
    python benchmarks/grpo_step.py --steps 5 --rounds 4
    python benchmarks/grpo_step.py --size 3b --device cuda --dtype bfloat16 --prompts 4 --generations 4 --length 256
"""

import argparse
import logging
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from vision_r1.data.scenes import CATEGORIES, Style, draw_scene
from vision_r1.data.tasks import ask
from vision_r1.data.worlds import WORLDS
from vision_r1.families import family
from vision_r1.miniature.model import make_model
from vision_r1.miniature.processor import make_processor
from vision_r1.resources import peak_rss_mb
from vision_r1.rewards import Criterion, reward_functions
from vision_r1.training.dataset import grpo_dataset
from vision_r1.training.sharing import share_forward, share_processing

PARTS = ("generation", "log-probabilities", "backward", "image processing", "reward", "data", "other")
VISION = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420, "out_hidden_size": 2048}
TEXT = {"num_hidden_layers": 36, "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2}
SIZES = {  # Qwen2.5-VL's published dimensions
    "3b": (TEXT | {"intermediate_size": 11008, "vocab_size": 151936}, VISION, True),
    "7b": (
        {"num_hidden_layers": 28, "hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4}
        | {"intermediate_size": 18944, "vocab_size": 152064},
        VISION | {"out_hidden_size": 3584},
        False,
    ),
}
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L4": 121e12, "RTX 4090": 165e12}  # bfloat16, dense


class Clock:
    """Seconds by part; time within an inner part does not count for the outer one."""

    def __init__(self, device):
        self.device, self.steps, self.stack = device, [], []

    @contextmanager
    def step(self):
        self.now = defaultdict(float)
        with self.part("other"):
            yield
        self.steps.append(self.now)

    @contextmanager
    def part(self, name):
        began = self._time()
        self.stack.append(0.0)
        yield
        seconds = self._time() - began
        self.now[name] += seconds - self.stack.pop()
        if self.stack:
            self.stack[-1] += seconds

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


def make_checkpoint(folder, args):
    """Write a model with random weights and its processor; return the latter."""
    processor = make_processor(WORLDS["miniature"])
    if args.size == "miniature":
        model = make_model(processor.tokenizer, hidden_size=128, text_layers=2, vision_layers=2, seed=0)
    else:
        text, vision, tied = SIZES[args.size]
        small = make_model(processor.tokenizer, hidden_size=32, text_layers=1, vision_layers=1, seed=0).config
        rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
        tokens = {"bos_token_id": None, "eos_token_id": processor.tokenizer.eos_token_id}
        ids = {name: getattr(small, name) for name in ("image_token_id", "video_token_id", "vision_start_token_id")}
        config = Qwen2_5_VLConfig(
            text_config={**text, **tokens, "rope_parameters": rope, "pad_token_id": processor.tokenizer.pad_token_id},
            vision_config={**vision, "fullatt_block_indexes": [7, 15, 23, 31]},
            tie_word_embeddings=tied,
            **ids,
        )
        torch.manual_seed(0)
        with torch.device(args.device):
            torch.set_default_dtype(getattr(torch, args.dtype))
            model = Qwen2_5_VLForConditionalGeneration(config)
            torch.set_default_dtype(torch.float32)
    model.to(getattr(torch, args.dtype)).save_pretrained(folder)
    pixels = (784, 7840) if args.size == "miniature" else (784, 401408)
    processor.image_processor.size = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}
    return processor


def make_rows(folder, args, processor):
    """Return as many rows as a step has prompts: drawn scenes, enlarged to a photograph's size for the large models."""
    rng = np.random.default_rng(0)
    rows = []
    limits = processor.image_processor.size
    while len(rows) < args.prompts:
        scene = draw_scene(Style(), rng)
        asked = ask("detection", scene.objects, CATEGORIES, rng)
        image = Image.fromarray(scene.image)
        if args.size != "miniature":
            image = image.resize((640, 480))
        path = Path(folder) / f"{len(rows)}.png"
        image.save(path)
        width, height = image.size
        seen = family("qwen2_5_vl").input_size(width, height, limits["shortest_edge"], limits["longest_edge"])
        sizes = {"width": width, "height": height, "input_width": seen[0], "input_height": seen[1]}
        about = {"num_instances": len(asked["objects"]), "frame": "pixel", "task": "detection", "source_id": path.stem}
        rows.append({**asked, **sizes, **about, "image": str(path)})
    return rows


def generation(args, processor):
    forbidden = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    return {
        "min_new_tokens": args.length,
        "suppress_tokens": processor.tokenizer.convert_tokens_to_ids(forbidden),
    }


def with_trl(folder, rows, args, shared):
    """Return (clock, function that takes steps) for TRL's trainer, alone or with what copies of a prompt can share."""
    processor = make_processor(WORLDS["miniature"])
    processor.image_processor.size = args.limits
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=args.dtype)
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
    )
    if shared:
        share_processing(processor)
        share_forward(model)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward_functions(Criterion.named("official", "stage1")),
        args=config,
        train_dataset=grpo_dataset(rows) if shared else plain_dataset(rows),
        processing_class=processor,
    )
    if shared and trainer.ref_model is not None:
        share_forward(trainer.ref_model)
    clock = Clock(args.device)
    clock.around(trainer, "_generate_single_turn", "generation")
    clock.around(trainer, "_tokenize_prompts", "image processing")
    clock.around(processor.image_processor, "preprocess", "image processing")
    clock.around(trainer, "_get_per_token_logps_and_entropies", "log-probabilities")
    clock.around(trainer, "_calculate_rewards", "reward")
    clock.around(trainer, "get_batch_samples", "data")
    clock.around(trainer.accelerator, "backward", "backward")

    class Steps(TrainerCallback):
        """From one step's end to the next one's: the data of a step is read before it begins."""

        def on_train_begin(self, *_, **__):
            self.step = clock.step()
            self.step.__enter__()

        def on_step_end(self, *_, **__):
            self.step.__exit__(None, None, None)
            self.on_train_begin()

    trainer.add_callback(Steps())
    return clock, trainer.train


def plain_dataset(rows):
    """Return the rows with images as TRL's users have them: decoded anew for every copy."""
    from datasets import Image as ImageColumn

    return grpo_dataset(rows).with_format(None).cast_column("image", ImageColumn(mode="RGB"))


def released(folder, rows, args):
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
    rewards = reward_functions(Criterion.named("official", "stage1"))
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


def flops_of_a_step(folder, rows, args):
    """Return what the mathematics needs: 2 x weights a token forward, twice that backward, each image once."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    seen = sum(weight.numel() for weight in model.model.visual.parameters())
    read = sum(weight.numel() for weight in model.parameters()) - seen
    cells = sum(row["input_width"] * row["input_height"] for row in rows) / 14**2
    tokens = args.generations * (cells / 4 + len(rows) * (60 + args.length))
    return (2 + 2 + 4 + 2 * (args.beta > 0)) * (read * tokens + seen * cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["miniature", *SIZES], default="miniature")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--prompts", type=int, default=24, help="prompts a step")
    parser.add_argument("--generations", type=int, default=8, help="completions a prompt")
    parser.add_argument("--micro", type=int, help="completions in one forward pass of TRL; default: all of a step")
    parser.add_argument(
        "--released_accumulation",
        type=int,
        default=2,
        help="prompts an optimiser step of released",
    )
    parser.add_argument("--length", type=int, default=10, help="tokens of a completion; the miniature writes 9")
    parser.add_argument("--beta", type=float, default=0.0, help="KL term of ours and TRL; released: always 0.04")
    parser.add_argument("--steps", type=int, default=4, help="steps in a row")
    parser.add_argument("--rounds", type=int, default=3, help="turns that the arms take")
    parser.add_argument("--arms", nargs="+", choices=["ours", "trl", "released"], default=["ours", "trl", "released"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        processor = make_checkpoint(folder, args)
        args.limits = processor.image_processor.size
        rows = make_rows(folder, args, processor)
        make = {
            "ours": lambda: with_trl(folder, rows, args, shared=True),
            "trl": lambda: with_trl(folder, rows, args, shared=False),
            "released": lambda: released(folder, rows, args),
        }
        arms = {name: make[name]() for name in args.arms}
        memory = {}
        for _ in range(args.rounds):
            for name, (_, take_steps) in arms.items():
                if args.device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                take_steps()
                memory[name] = torch.cuda.max_memory_allocated() / 2**20 if args.device == "cuda" else peak_rss_mb()
        completions = args.prompts * args.generations
        flops = flops_of_a_step(folder, rows, args) if args.device == "cuda" else None
    write = sys.stdout.write
    write(f"{args.size}, {args.device}, {args.dtype}, {args.threads} threads: {args.prompts} prompts x ")
    write(f"{args.generations} completions x {args.length} tokens a step\n")
    write(f"{'seconds of the fastest step, by part':37s}" + "".join(f"{name:>10s}" for name in arms) + "\n")
    best = {}
    for name, (clock, _) in arms.items():
        best[name] = min(clock.steps[1:], key=lambda step: sum(step.values()))
    for part in PARTS:
        write(f"  {part:35s}" + "".join(f"{best[name][part]:10.3f}" for name in arms) + "\n")
    total = {name: sum(best[name].values()) for name in arms}
    write(f"  {'whole step':35s}" + "".join(f"{total[name]:10.3f}" for name in arms) + "\n")
    write(f"{'completions/s':37s}" + "".join(f"{completions / total[name]:10.1f}" for name in arms) + "\n")
    write(f"{'tokens/s':37s}" + "".join(f"{completions * args.length / total[name]:10.0f}" for name in arms) + "\n")
    kind = "peak GPU memory, MB" if args.device == "cuda" else "peak memory of the process so far, MB"
    write(f"{kind:37s}" + "".join(f"{memory[name]:10.0f}" for name in arms) + "\n")
    if flops:
        card = torch.cuda.get_device_name()
        peak = next((value for key, value in PEAK_FLOPS.items() if key in card), None)
        use = {name: f"{flops / total[name] / peak:10.1%}" if peak else f"{'unknown':>10s}" for name in arms}
        write(f"{'model FLOP utilisation, ' + card:37s}" + "".join(use[name] for name in arms) + "\n")


if __name__ == "__main__":
    main()
