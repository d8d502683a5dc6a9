"""Prediction with a tiny untrained model: its answers are meaningless, but the same however they are computed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from predict_suite import main
from prediction_words import PROTOCOLS, words

from vision_r1.data.coco import read_all
from vision_r1.data.images import load_image
from vision_r1.evaluation.answers import Decoding, Question
from vision_r1.evaluation.generation import Generator
from vision_r1.evaluation.predict import plan, question_of
from vision_r1.evaluation.protocols import Protocol, requests
from vision_r1.families import family
from vision_r1.files import UserError, read_jsonl

FAMILY = family("qwen2_5_vl")
pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_request_has_a_line(predicted, datasets):
    expected = [
        (dataset.name, name, request.image.id, request.prompt)
        for dataset in read_all(datasets)
        for name, entry in PROTOCOLS.items()
        for request in requests(Protocol.of(name, entry, 784, 7056), dataset)
    ]
    lines = [(line["dataset"], line["protocol"], line["image_id"], line["prompt"]) for line in predicted]
    assert lines == expected and len(lines) == 15 + 5 + 5
    wide = next(line for line in predicted if line["image_id"] == 7)
    assert (wide["width"], wide["height"], wide["input_width"], wide["input_height"]) == (168, 56, 140, 28)
    assert wide["frame"] == "pixel" and wide["file_name"].endswith("images/7.png")


def test_the_same_question_of_two_protocols_has_one_answer(predicted):
    answers = {}
    for line in predicted:
        if line["protocol"] != "at-once":
            key = line["file_name"], line["prompt"]
            assert answers.setdefault(key, line["completion"]) == line["completion"]
    assert len(answers) == 15


def test_tokens_have_offsets_and_log_probabilities(predicted):
    for line in predicted:
        offsets, logprobs = zip(*line["tokens"], strict=True)
        assert len(offsets) == line["num_tokens"] <= PROTOCOLS[line["protocol"]]["max_new_tokens"]
        assert offsets[0] == 0 and list(offsets) == sorted(offsets) and offsets[-1] <= len(line["completion"])
        assert all(value <= 0 for value in logprobs)
        assert line["mean_logprob"] == pytest.approx(sum(logprobs) / len(logprobs), abs=1e-4)
        assert "<|" not in line["completion"]


def test_text_does_not_depend_on_the_batch(predicted, tiny_checkpoint, datasets, tmp_path):
    main(words(tiny_checkpoint, datasets, tmp_path / "one.jsonl", batch_size=1))
    for one, many in zip(read_jsonl(tmp_path / "one.jsonl"), predicted, strict=True):
        assert one["completion"] == many["completion"]
        assert [offset for offset, _ in one["tokens"]] == [offset for offset, _ in many["tokens"]]
        assert [value for _, value in one["tokens"]] == pytest.approx([value for _, value in many["tokens"]], abs=2e-3)


def test_penalised_text_is_transformers_own_in_any_batch(predicted, tiny_checkpoint, datasets, tmp_path):
    protocols = {key: entry | {"repetition_penalty": 3.0} for key, entry in PROTOCOLS.items()}
    for name, batch_size in (("one", 1), ("many", 3)):
        main(words(tiny_checkpoint, datasets, tmp_path / name, protocols, batch_size=batch_size))
    one, many = ([line["completion"] for line in read_jsonl(tmp_path / name)] for name in ("one", "many"))
    assert one == many != [line["completion"] for line in predicted]
    generator, line = Generator(tiny_checkpoint, FAMILY, "float32"), predicted[0]
    question = Question(line["file_name"], line["prompt"], Decoding(8, 784, 7056), 84, 84)
    inputs = generator._inputs([question], generator.prepare([question]))
    sequence = generator.model.generate(**inputs, max_new_tokens=8, repetition_penalty=3.0)
    tokens = sequence[0, inputs["input_ids"].shape[1] :].tolist()
    assert generator.read(tokens, [0.0] * len(tokens))["completion"] == one[0]


def test_sampled_text_depends_on_the_seed_and_not_on_the_batch(predicted, tiny_checkpoint, datasets, tmp_path):
    sampling = {"temperature": 0.7, "top_p": 0.9, "top_k": 50, "presence_penalty": 1.5, "seed": 42}

    def sampled(name, seed=42, **options):
        protocols = {key: entry | {"sampling": sampling | {"seed": seed}} for key, entry in PROTOCOLS.items()}
        main(words(tiny_checkpoint, datasets, tmp_path / name, protocols, **options))
        return [line["completion"] for line in read_jsonl(tmp_path / name)]

    texts = sampled("one")
    assert texts == sampled("two", batch_size=3) != [line["completion"] for line in predicted]
    assert texts != sampled("three", seed=43)


def test_bfloat16(predicted, tiny_checkpoint, datasets, tmp_path):
    main(words(tiny_checkpoint, datasets, tmp_path / "half.jsonl", dtype="bfloat16"))
    lines = read_jsonl(tmp_path / "half.jsonl")
    assert [line["prompt"] for line in lines] == [line["prompt"] for line in predicted]
    assert lines[0]["tokens"][0][1] == pytest.approx(predicted[0]["tokens"][0][1], abs=0.1)


def test_log_probabilities_are_the_model_s_own(predicted, tiny_checkpoint):
    """Compared with one forward pass over prompt and completion."""
    generator = Generator(tiny_checkpoint, FAMILY, "float32")
    line = predicted[0]
    question = Question(line["file_name"], line["prompt"], Decoding(8, 784, 7056), 84, 84)
    inputs = generator._inputs([question], generator.prepare([question]))
    with torch.no_grad():
        sequence = generator.model.generate(**inputs, max_new_tokens=8)
        inputs["mm_token_type_ids"] = (sequence == generator.model.config.image_token_id).int()
        logits = generator.model(
            **{**inputs, "input_ids": sequence, "attention_mask": torch.ones_like(sequence)}
        ).logits
    start = inputs["input_ids"].shape[1]
    logits[..., generator.model.generation_config.suppress_tokens] = -torch.inf
    own = logits[0, start - 1 : -1].log_softmax(-1).gather(1, sequence[0, start:, None])[:, 0]
    assert own.tolist() == pytest.approx([value for _, value in line["tokens"]], abs=1e-3)


def test_a_row_is_read_up_to_its_end_token(tiny_checkpoint):
    generator = Generator(tiny_checkpoint, FAMILY, "float32")
    tokenizer = generator.processor.tokenizer
    text = '[{"bbox_2d": [1, 2, 3, 44], "label": "ein Größtes"}] 猫'
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = generator.read([*tokens, tokenizer.eos_token_id, tokenizer.pad_token_id], [-0.5] * (len(tokens) + 2))
    assert (answer["completion"], answer["truncated"], answer["num_tokens"]) == (text, False, len(tokens) + 1)
    offsets = [offset for offset, _ in answer["tokens"]]
    assert {text.index(", 44"), text.index("ö"), text.index("猫"), len(text)} <= set(offsets)
    assert generator.read(tokens, [-0.5] * len(tokens))["truncated"]


@pytest.mark.parametrize("own", [None, 7, [7, 9]])
def test_an_answer_ends_where_trainings_end_it(tiny_checkpoint, tmp_path, own):
    """As after SFT and while GRPO samples, so that checkpoints differ by their weights alone."""
    shutil.copytree(tiny_checkpoint, tmp_path / "model", ignore=shutil.ignore_patterns("*.sha256"))
    settings = json.loads((tmp_path / "model/generation_config.json").read_text())
    (tmp_path / "model/generation_config.json").write_text(json.dumps(settings | {"eos_token_id": own}))
    generator = Generator(tmp_path / "model", FAMILY, "float32")
    known = own if isinstance(own, list) else [] if own is None else [own]
    ends = [*known, generator.processor.tokenizer.eos_token_id]
    assert generator.model.generation_config.eos_token_id == ends
    assert all(not generator.read([5, end], [-0.5] * 2)["truncated"] for end in ends)


def test_a_batch_too_large_for_the_gpu_is_halved(tiny_checkpoint, datasets, predicted, monkeypatch):
    generator = Generator(tiny_checkpoint, FAMILY, "float32")
    protocol = Protocol.of("every", PROTOCOLS["every"], 784, 7056)
    questions = [question_of(request, FAMILY) for request in requests(protocol, read_all(datasets)[0])][:5]
    original = generator._answer
    room, sizes = 2, []

    def small_memory(questions, images):
        sizes.append(len(questions))
        if len(questions) > room:
            raise torch.cuda.OutOfMemoryError
        return original(questions, images)

    monkeypatch.setattr(generator, "_answer", small_memory)
    expected = [line["completion"] for line in predicted[:5]]
    assert [a["completion"] for a in generator.answer(questions)] == expected
    assert sizes == [5, 2, 2, 1]
    # The next batch starts with the size that fits.
    sizes.clear()
    assert [a["completion"] for a in generator.answer(questions)] == expected
    assert sizes == [2, 2, 1]
    room = 0
    with pytest.raises(UserError, match="too large for the GPU's memory"):
        generator.answer(questions)


def test_each_process_makes_its_own_gpu_the_current_one(tiny_checkpoint, monkeypatch):
    """CUDA graphs of another GPU than the current one are empty, and would repeat tokens."""
    chosen = []
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    monkeypatch.setattr("torch.nn.Module.to", lambda model, device: chosen.append(device) or model)
    Generator(tiny_checkpoint, FAMILY, "float32")
    assert chosen == ["cuda:3", "cuda:3"]


def test_plan_puts_large_images_first_and_asks_nothing_twice():
    limits, others = Decoding(8, 1, 2), Decoding(9, 1, 2)
    questions = [
        Question(path, prompt, limit, side, side)
        for limit in (limits, others)
        for path, side in (("a", 28), ("b", 56))
        for prompt in ("short", "much longer")
    ]
    batches = plan(questions + questions, 3)
    assert [[(q.path, q.prompt) for q in batch] for batch in batches[:2]] == [
        [("b", "much longer"), ("b", "short"), ("a", "much longer")],
        [("a", "short")],
    ]
    assert len(batches) == 4 and all(len({q.decoding for q in batch}) == 1 for batch in batches)


def test_mistakes(tiny_checkpoint, datasets, tmp_path):
    with pytest.raises(UserError, match="fix the family"):
        main(words(tiny_checkpoint, datasets, tmp_path / "p.jsonl", family="qwen3_vl"))
    with pytest.raises(UserError, match="no such folder"):
        main(words(tmp_path / "none", datasets, tmp_path / "p.jsonl"))
    without = shutil.copytree(tiny_checkpoint, tmp_path / "without")
    (without / "model.safetensors").unlink()
    with pytest.raises(UserError, match="without: neither model.safetensors nor"):
        main(words(without, datasets, tmp_path / "p.jsonl"))
    name, annotations, images = datasets[0]
    holed = Path(shutil.copytree(images, tmp_path / "holed"))
    (holed / "2.png").unlink()
    with pytest.raises(UserError, match="2.png: no such image"):
        main(words(tiny_checkpoint, [(name, annotations, str(holed))], tmp_path / "p.jsonl"))
    with pytest.raises(UserError, match="vLLM can't be imported .*pip install -r requirements-vllm.txt"):
        main(words(tiny_checkpoint, datasets, tmp_path / "p.jsonl", backend="vllm"))
    with pytest.raises(UserError, match="the name is given twice"):
        main(words(tiny_checkpoint, datasets * 2, tmp_path / "p.jsonl"))
    with pytest.raises(SystemExit):
        main(words(tiny_checkpoint, datasets, tmp_path / "p.jsonl", batch_size=0))


def test_a_processor_with_another_resizing_rule_is_an_error(tiny_checkpoint, datasets):
    generator = Generator(tiny_checkpoint, FAMILY, "float32")
    path = read_all(datasets)[0].images[0].path
    with pytest.raises(UserError, match="84 x 84 pixels, not 96 x 96 as family qwen2_5_vl does"):
        generator.answer([Question(path, "x", Decoding(2, 784, 7056), 96, 96)])


def test_real_coco_goes_through(coco_tiny, tiny_checkpoint, tmp_path):
    places = ("val", str(coco_tiny / "annotations/instances_val2017.json"), str(coco_tiny / "val2017"))
    arguments = words(tiny_checkpoint, [places], tmp_path / "p.jsonl", batch_size=32)
    every = arguments.index("--protocol")
    main(arguments[:every] + arguments[every + 6 :])  # all-in-one only
    lines = read_jsonl(tmp_path / "p.jsonl")
    assert len(lines) == 80 and len(lines[0]["categories"]) == 80


def test_images_are_loaded_upright_and_in_rgb(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (60, 40)).save(tmp_path / "x.jpg", exif=exif)
    image = load_image(str(tmp_path / "x.jpg"))
    assert (image.size, image.mode) == ((40, 60), "RGB")
