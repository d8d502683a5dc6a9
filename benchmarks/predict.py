"""Speed of prediction: the released loop, one question at a time, and ours, on the same questions.

Both answer the questions of one protocol with the same checkpoint, alternating, several times; the best round of each
counts. The released loop calls the processor and `generate` for each image, with batch size 1. Beside the speeds it is
printed how many answers have the same text (all of them in float32).

Example on the miniature (`snakemake --cores all data models` makes its base model and test scenes):
    python benchmarks/predict.py --checkpoint results/miniature/models/base/model --family qwen2_5_vl \\
        --annotations results/miniature/data/scenes/scenes_test/annotations.json \\
        --images results/miniature/data/scenes/scenes_test/images --max_pixels 7840 --max_new_tokens 40
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
import torch

from vision_r1.data.coco import read_coco
from vision_r1.data.images import load_image
from vision_r1.evaluation.answers import Question
from vision_r1.evaluation.generation import Generator
from vision_r1.evaluation.predict import plan, question_of
from vision_r1.evaluation.protocols import PROMPTS, Protocol, requests
from vision_r1.families import family


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, metavar="DIR")
    parser.add_argument("--family", required=True)
    parser.add_argument("--annotations", required=True, metavar="FILE")
    parser.add_argument("--images", required=True, metavar="DIR")
    parser.add_argument("--prompts", choices=PROMPTS, default="all-in-one")
    parser.add_argument("--limit", type=int, default=128, metavar="N", help="images (default: 128)")
    parser.add_argument("--min_pixels", type=int, default=784)
    parser.add_argument("--max_pixels", type=int, required=True)
    parser.add_argument("--max_new_tokens", type=int, required=True)
    parser.add_argument("--batch_size", type=int, default=128, help="of our loop (default: 128)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each loop (default: 3)")
    return parser.parse_args()


def plain_model(generator: Generator) -> Any:
    """Return the generator's model as transformers loads it, with the generator's decoding settings."""
    kind, model = type(generator.model), generator.model
    plain = kind.from_pretrained(generator.checkpoint, dtype=model.dtype).to(model.device).eval()
    plain.generation_config = model.generation_config
    return plain


@torch.inference_mode()
def released_2025(model: Any, generator: Generator, questions: Sequence[Question]) -> dict[Question, str]:
    """Answer one question after another, as the released evaluation does."""
    processor, texts = generator.processor, {}
    for question in questions:
        limits = question.decoding
        inputs = processor(
            text=[generator.chat(question.prompt)],
            images=[load_image(question.path)],
            images_kwargs={"size": {"shortest_edge": limits.min_pixels, "longest_edge": limits.max_pixels}},
            padding=True,
            return_tensors="pt",
        ).to(model.device)
        sequence = model.generate(**inputs, max_new_tokens=limits.max_new_tokens, use_cache=True)
        new = sequence[:, inputs["input_ids"].shape[1] :]
        texts[question] = processor.batch_decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)[0]
    return texts


def ours(generator: Generator, questions: Sequence[Question], batch_size: int) -> dict[Question, str]:
    """Answer in batches, as predict_suite.py does."""
    return {
        question: answer["completion"]
        for batch in plan(questions, batch_size)
        for question, answer in zip(batch, generator.answer(batch), strict=True)
    }


def timed(way: Callable[[], dict[Question, str]], device: str) -> tuple[float, dict[Question, str]]:
    start = time.perf_counter()
    texts = way()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, texts


def compared(
    generator: Generator,
    questions: Sequence[Question],
    batch_sizes: Sequence[int],
    device: str,
    rounds: int,
    alone: int | None = None,
) -> str:
    """Answer the questions both ways, alternating, several times; return the best speeds as text.

    The slow loop answers only the first `alone` questions, if that is given.
    """
    few, plain = questions[:alone], plain_model(generator)
    ways = {"released_2025, batch size 1": (few, lambda: released_2025(plain, generator, few))}
    for size in batch_sizes:
        ways[f"ours, batch size {size}"] = (questions, lambda size=size: ours(generator, questions, size))
    best, texts = dict.fromkeys(ways, float("inf")), {}
    if device != "cpu":  # warm-up: the libraries initialise at their first call
        released_2025(plain, generator, few[:1])
        ours(generator, questions, batch_sizes[0])
    for _ in range(rounds):
        for name, (_, way) in ways.items():
            seconds, texts[name] = timed(way, device)
            best[name] = min(best[name], seconds)
    first = next(iter(ways))
    lines = []
    for name, (asked, _) in ways.items():
        speed = len({question.path for question in asked}) / best[name]
        if name == first:
            slow = speed
            lines.append(f"{name:27s} {speed:8.2f} images/s ({len(few)} questions)")
            continue
        same = sum(texts[first][question] == texts[name][question] for question in few)
        times = f"{speed / slow:.1f} times as fast; {same} of {len(few)} answers the same"
        lines.append(f"{name:27s} {speed:8.2f} images/s, {times}")
    return "\n".join(lines) + "\n"


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    dataset = read_coco("set", args.annotations, args.images)
    protocol = Protocol("p", args.prompts, args.max_new_tokens, args.min_pixels, args.max_pixels)
    kept = {image.id for image in dataset.images[: args.limit]}
    asked = [request for request in requests(protocol, dataset) if request.image.id in kept]
    generator = Generator(args.checkpoint, family(args.family), args.dtype, args.device)
    questions = [question_of(request, generator.family) for request in asked]
    images = len({question.path for question in questions})
    device = torch.cuda.get_device_name() if args.device != "cpu" else f"CPU, {args.threads} threads"
    sys.stdout.write(f"{args.checkpoint}, {args.dtype}, {device}; {images} images, {len(questions)} prompts\n")
    sys.stdout.write(compared(generator, questions, [args.batch_size], args.device, args.rounds))


if __name__ == "__main__":
    main()
