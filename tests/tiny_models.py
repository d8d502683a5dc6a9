"""An untrained checkpoint and a few rows of training data for each model family."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from hub_layouts import write_processor
from PIL import Image
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from vision_r1.data.images import upright_size
from vision_r1.data.scenes import CATEGORIES, Style, draw_scene
from vision_r1.data.worlds import WORLDS
from vision_r1.evaluation.answers import Decoding, Question
from vision_r1.evaluation.generation import Generator
from vision_r1.families import family
from vision_r1.files import read_json
from vision_r1.frames import Frame
from vision_r1.miniature.model import make_model
from vision_r1.miniature.processor import make_processor
from vision_r1.miniature.questions import ask
from vision_r1.miniature.tokenizer import VISION_END, VISION_START
from vision_r1.models import load_model
from vision_r1.processors import IMAGE, VIDEO, load_processor
from vision_r1.prompts import DEFAULT

PIXELS = (784, 7056)  # smallest and largest image in all trainings here


def processor_of(folder: Path):
    """Return the processor of the tiny checkpoint `model` in a folder."""
    name = read_json(folder / "model/config.json")["model_type"]
    return load_processor(folder / "model", family(name), *PIXELS)


def make_checkpoint(folder: Path, name: str, layout: str | None = None, head_size: int = 16) -> None:
    """Write a model of family `name` with one or two layers and random weights, and its processor.

    layout: one of hub_layouts.LAYOUTS, for a processor as on the hub; None: the miniature's, if it has that family.
    """
    if layout or name != "qwen2_5_vl":
        write_processor(folder, name, layout or "newer")
        tokenizer = load_processor(folder, family(name), *PIXELS).tokenizer
    else:
        processor = make_processor(WORLDS["miniature"])
        processor.save_pretrained(folder)
        tokenizer = processor.tokenizer
    if name == "qwen2_5_vl":
        model = make_model(tokenizer, 2 * head_size, text_layers=1, vision_layers=1, seed=0, head_size=head_size)
    else:
        model = _make_qwen3_vl(tokenizer, head_size)
    model.save_pretrained(folder)


def _make_qwen3_vl(tokenizer, head_size):
    ids, width = tokenizer.convert_tokens_to_ids, 2 * head_size
    text = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "head_dim": head_size,
        "vocab_size": len(tokenizer),
    }
    sections = [head_size // 4, head_size // 8, head_size // 8]
    rope = {"rope_type": "default", "mrope_section": sections, "mrope_interleaved": True, "rope_theta": 10.0}
    vision = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "depth": 2,
        "num_heads": 2,
        "out_hidden_size": width,
    }
    config = Qwen3VLConfig(
        text_config={
            **text,
            **{"num_attention_heads": 2, "num_key_value_heads": 2, "rope_parameters": rope, "initializer_range": 0.06},
            **{"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None},
        },
        vision_config={**vision, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        **{"image_token_id": ids(IMAGE), "video_token_id": ids(VIDEO), "tie_word_embeddings": True},
        **{"vision_start_token_id": ids(VISION_START), "vision_end_token_id": ids(VISION_END)},
    )
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def untie(checkpoint: Path, folder: Path) -> None:
    """Write a copy of a checkpoint whose output head has weights of its own, as that of Qwen2.5-VL-7B."""
    shutil.copytree(checkpoint, folder)
    model = load_model(checkpoint, "float32")
    torch.manual_seed(1)
    head = torch.nn.Parameter(model.lm_head.weight.detach() + 0.02 * torch.randn_like(model.lm_head.weight))
    model.lm_head.weight, model.config.tie_word_embeddings = head, False
    model.save_pretrained(folder)


def teach(folder: Path, name: str, image: Path, prompt: str, answer: str) -> None:
    """Train a checkpoint until it gives a certain answer to a question about an image."""
    size = family(name).input_size(*upright_size(image), *PIXELS)
    question = Question(str(image), prompt, Decoding(1, *PIXELS), *size)
    generator = Generator(folder, family(name), "float32")
    model, inputs = generator.model, generator._inputs([question], generator.prepare([question]))
    tokenizer = generator.processor.tokenizer
    answer_ids = tokenizer(answer, return_tensors="pt").input_ids
    answer_ids = torch.cat([answer_ids, torch.tensor([[tokenizer.eos_token_id]])], dim=1)
    labels = torch.cat([torch.full_like(inputs["input_ids"], -100), answer_ids], dim=1)
    for key, more in (
        ("input_ids", answer_ids),
        ("attention_mask", answer_ids * 0 + 1),
        ("mm_token_type_ids", answer_ids.int() * 0),
    ):
        inputs[key] = torch.cat([inputs[key], more], dim=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(200):
        loss = model(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.01:
            break
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)


def write_train_file(folder: Path, name: str) -> Path:
    """Write eight rows of training data, curated for family `name`: seven detection rows and a negative one."""
    rng = np.random.default_rng(0)
    rows = []
    while len(rows) < 8:
        scene = draw_scene(Style(), rng)
        asked = ask("detection" if len(rows) < 7 else "negative", scene.objects, CATEGORIES, rng)
        if asked is None:
            continue
        image = folder / f"{len(rows)}.png"
        Image.fromarray(scene.image).save(image)
        height, width = scene.image.shape[:2]
        seen = family(name).input_size(width, height, *PIXELS)
        sizes = {"width": width, "height": height, "input_width": seen[0], "input_height": seen[1]}
        about = {"num_instances": len(asked["objects"]), "frame": family(name).frame, "task": "detection"}
        rows.append({**asked, **sizes, **about, "source_id": image.stem, "image": str(image)})
        rows[-1] |= {"system": None, "answer": DEFAULT.right_answer(asked["objects"], Frame.of(rows[-1]))}
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
