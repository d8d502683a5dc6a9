"""Make a base model: a small Qwen2.5-VL, trained from random weights on synthetic scenes.

Example:
  python workflow/scripts/make_base_model.py --world miniature --hidden_size 128 --head_size 16 --text_layers 2 \\
      --vision_layers 2 --number_waves 0 --steps 1900 --exact_steps 1700 --filling_steps 0 --batch_size 16 \\
      --device cpu --workers 0 --muon_learning_rate 0.01 --adamw_learning_rate 0.003 --weight_decay 0.05 \\
      --warmup_steps 100 --grow 0.08 --jitter 0.05 --drop 0.3 --detection_share 0.6 --grounding_share 0.3 \\
      --negative_share 0.1 --seed 0 --threads 2 --output_model base/model --output_metrics base/metrics.json \\
      --output_history base/history.jsonl

The same arguments on the same kind of machine give the same weights.
"""

import argparse
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from vision_r1.cli import add_names, add_templates, parser, run, whole_number
from vision_r1.files import UserError, write_json, write_jsonl, written_whole
from vision_r1.miniature.recipe import Recipe


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    for item in fields(Recipe):
        arguments.add_argument(f"--{item.name}", type=item.type, required=True, help=item.metadata["help"])
    add_templates(arguments)
    add_names(arguments)
    arguments.add_argument("--seed", type=whole_number(0), required=True, help="seed of initial weights and scenes")
    arguments.add_argument(
        "--threads",
        type=whole_number(1),
        default=1,
        help="cores to use; on the CPU, that many processes of one thread each",
    )
    arguments.add_argument(
        "--state", type=Path, help="folder that an interrupted training resumes from; default: it starts afresh"
    )
    arguments.add_argument("--output_model", required=True, help="folder for the model and its processor")
    arguments.add_argument("--output_metrics", required=True, help="JSON file with duration, sizes and last values")
    arguments.add_argument("--output_history", required=True, help="JSONL file to write: the loss at intervals")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    recipe = Recipe(**{item.name: getattr(args, item.name) for item in fields(Recipe)})
    outputs = {name: Path(getattr(args, name)) for name in ("output_model", "output_history", "output_metrics")}

    import torch
    import transformers

    from vision_r1 import finished
    from vision_r1.data.worlds import WORLDS
    from vision_r1.miniature.model import make_model
    from vision_r1.miniature.pretrain import pretrain, summary
    from vision_r1.miniature.processor import make_processor
    from vision_r1.miniature.resume import Checkpoints
    from vision_r1.positions import position_once
    from vision_r1.stamps import code_stamp
    from vision_r1.training.checkpoints import fingerprint
    from vision_r1.vision_encoder import speed_up_encoder

    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: no GPU is visible; ask for one (config: compute.make_base_model.gpu) or give --device cpu"
        )
    # On the CPU, processes in place of threads (see vision_r1/miniature/together.py).
    processes, threads = (args.threads, 1) if recipe.device == "cpu" else (1, args.threads)
    torch.set_num_threads(threads)
    decisive = {
        **{name: value for name, value in asdict(recipe).items() if name != "workers"},
        "names": args.names,
        "seed": args.seed,
        "threads": args.threads,
        "templates": repr(args.templates),
    }
    decisive |= {"torch": torch.__version__, "transformers": transformers.__version__, "code": code_stamp(__file__)}
    key = fingerprint(decisive)
    if args.state and finished.restore(finished.place(args.state), key, outputs):
        logging.info("%s: restored: this very training was finished before; --force trains again", args.state)
        return
    checkpoints = Checkpoints(args.state / key) if args.state else None
    processor = make_processor(WORLDS[recipe.world], args.templates, args.names)
    model = make_model(
        processor.tokenizer,
        recipe.hidden_size,
        recipe.text_layers,
        recipe.vision_layers,
        args.seed,
        head_size=recipe.head_size,
        number_waves=recipe.number_waves,
    )
    position_once(speed_up_encoder(model))
    started = time.monotonic() - (checkpoints.seconds if checkpoints else 0)
    history = pretrain(model, processor, recipe, args.seed, processes, args.templates, checkpoints)
    seconds = time.monotonic() - started
    with written_whole(args.output_model, sealed=True) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    write_jsonl(args.output_history, history, sealed=True)
    write_json(args.output_metrics, summary(model, recipe, history, seconds, processes), sealed=True)
    if args.state:
        finished.keep(finished.place(args.state), key, outputs)
        shutil.rmtree(checkpoints.folder)


if __name__ == "__main__":
    run(main)
