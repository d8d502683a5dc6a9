"""Prediction with a tiny untrained model: its answers are meaningless, but the same however they are computed."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import coco_factory
import predict_suite
import pytest
import torch
from predict_suite import main

from vision_r1.data.coco import read_all
from vision_r1.data.images import load_image
from vision_r1.evaluation.answers import Decoding, Question
from vision_r1.evaluation.generation import Generator
from vision_r1.evaluation.predict import plan, question_of
from vision_r1.evaluation.protocols import Protocol, requests
from vision_r1.families import family
from vision_r1.files import UserError, read_jsonl

FAMILY = family("qwen2_5_vl")
PROTOCOLS = {
    "every": {"prompts": "per-category", "max_new_tokens": 8},
    "present": {"prompts": "per-present-category", "max_new_tokens": 8},
    "at-once": {"prompts": "all-in-one", "max_new_tokens": 5, "max_pixels": 3200},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Images of three sizes: three square ones, a wide one and a tall one."""
    folder = tmp_path_factory.mktemp("data")
    small = coco_factory.write(folder / "small")
    mixed = coco_factory.content({7: [(2, [5, 5, 30, 20])], 8: [(1, [0, 0, 9, 9])]}, size=(168, 56))
    mixed["images"][1].update(width=50, height=120)
    return [("small", *small), ("mixed", *coco_factory.write(folder / "mixed", mixed))]


def words(checkpoint, datasets, output, **options):
    values = {
        **{"family": "qwen2_5_vl", "checkpoint": checkpoint, "min_pixels": 784, "max_pixels": 7056},
        **{"batch_size": 4, "threads": 1, "dtype": "float32", "output_predictions": output, **options},
    }
    return [
        *(word for dataset in datasets for word in ("--dataset", *dataset)),
        *(word for name, entry in PROTOCOLS.items() for word in ("--protocol", name, json.dumps(entry))),
        *(word for key, value in values.items() for word in (f"--{key}", str(value))),
    ]


WRITTEN = [".suite.jsonl.sha256", "suite.finished", "suite.jsonl"]


@pytest.fixture(scope="module")
def predicted(tiny_checkpoint, datasets, tmp_path_factory):
    output = tmp_path_factory.mktemp("predictions") / "suite.jsonl"
    main(words(tiny_checkpoint, datasets, output))
    assert sorted(path.name for path in output.parent.iterdir()) == WRITTEN
    return read_jsonl(output)


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


def test_sampled_text_depends_on_the_seed_and_not_on_the_batch(
    predicted, tiny_checkpoint, datasets, tmp_path, monkeypatch
):
    sampling = {"temperature": 0.7, "top_p": 0.9, "top_k": 50, "presence_penalty": 1.5, "seed": 42}

    def sampled(name, seed=42, **options):
        protocols = {key: entry | {"sampling": sampling | {"seed": seed}} for key, entry in PROTOCOLS.items()}
        monkeypatch.setattr(f"{__name__}.PROTOCOLS", protocols)
        main(words(tiny_checkpoint, datasets, tmp_path / name, **options))
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


class Interrupted(Exception):
    pass


def test_resumes_after_an_interruption(predicted, tiny_checkpoint, datasets, tmp_path, monkeypatch, caplog):
    output = tmp_path / "suite.jsonl"
    arguments = words(tiny_checkpoint, datasets, output)
    answer, batches = Generator.answer, []

    def counted(self, questions, images):
        if len(batches) == 2:
            raise Interrupted
        batches.append(len(questions))
        return answer(self, questions, images)

    monkeypatch.setattr(Generator, "answer", counted)
    with pytest.raises(Interrupted):
        main(arguments)
    partial = tmp_path / "suite.partial.jsonl"
    with partial.open("a", encoding="utf-8") as file:
        file.write('[{"completion": "cut off')
    assert not output.exists()
    batches[:] = [0, 0, 0]
    with caplog.at_level(logging.INFO):
        main(arguments)
    assert "8 of 20 questions were answered before" in caplog.text
    assert sum(batches) == 12
    assert read_jsonl(output) == predicted and not partial.exists()


def test_another_run_s_partial_file_is_not_used(tiny_checkpoint, datasets, tmp_path, predicted, caplog):
    output = tmp_path / "suite.jsonl"
    (tmp_path / "suite.partial.jsonl").write_text('{"checkpoint": "other"}\n[{"completion": "of another run"}]\n')
    main(words(tiny_checkpoint, datasets, output))
    assert "ignoring stale partial results" in caplog.text
    assert read_jsonl(output) == predicted


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


def test_resumes_with_another_number_of_processes(tiny_checkpoint, datasets, predicted, tmp_path, caplog, monkeypatch):
    output = tmp_path / "suite.jsonl"
    arguments = words(tiny_checkpoint, datasets, output)
    monkeypatch.setattr("vision_r1.progress.PAUSE", 0)
    with caplog.at_level(logging.INFO), monkeypatch.context() as second:
        second.setenv("RANK", "1")
        second.setenv("WORLD_SIZE", "2")
        main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["suite.partial-2of2.jsonl"]
    assert "progress 8/8 prompts" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        main(arguments)
    assert "8 of 20 questions were answered before" in caplog.text and "progress 12/12 prompts" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN
    assert read_jsonl(output) == predicted


def test_each_process_makes_its_own_gpu_the_current_one(tiny_checkpoint, monkeypatch):
    """CUDA graphs of another GPU than the current one are empty, and would repeat tokens."""
    chosen = []
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    monkeypatch.setattr("torch.nn.Module.to", lambda model, device: chosen.append(device) or model)
    Generator(tiny_checkpoint, FAMILY, "float32")
    assert chosen == ["cuda:3", "cuda:3"]


def test_complete_answers_are_gathered_without_loading_a_model(
    tiny_checkpoint, datasets, predicted, tmp_path, monkeypatch
):
    output = tmp_path / "suite.jsonl"
    arguments = words(tiny_checkpoint, datasets, output)

    def interrupted(*arguments):
        raise Interrupted

    with monkeypatch.context() as break_:
        break_.setattr("vision_r1.evaluation.predict.gather", interrupted)
        with pytest.raises(Interrupted):
            main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["suite.partial.jsonl"]
    monkeypatch.setattr(Generator, "__init__", pytest.fail)
    main(arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN
    assert read_jsonl(output) == predicted


def test_a_process_that_starts_after_the_answers_are_gathered_has_nothing_to_do(
    tiny_checkpoint, datasets, predicted, tmp_path, monkeypatch
):
    """The first of two processes found all batches of an earlier attempt; on another node the second starts later."""
    output = tmp_path / "suite.jsonl"
    arguments = words(tiny_checkpoint, datasets, output)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        main(arguments)
    assert read_jsonl(output) == predicted
    monkeypatch.setattr(Generator, "__init__", pytest.fail)
    monkeypatch.setenv("RANK", "1")
    main(arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN


def test_an_output_that_snakemake_deleted_is_restored_without_a_model(
    tiny_checkpoint, datasets, predicted, tmp_path, monkeypatch
):
    output = tmp_path / "suite.jsonl"
    main(words(tiny_checkpoint, datasets, output))
    output.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Generator, "__init__", pytest.fail)
        main(words(tiny_checkpoint, datasets, output))
    assert read_jsonl(output) == predicted


@pytest.mark.slow
def test_two_processes_of_a_launcher_write_the_same_bytes(tiny_checkpoint, datasets, predicted, tmp_path):
    """They start as under accelerate launch; one is killed in the middle of a line, and both are restarted."""
    output = tmp_path / "suite.jsonl"
    command = [sys.executable, predict_suite.__file__, *words(tiny_checkpoint, datasets, output)]

    def start(rank):
        environment = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    first = start(0)
    partial = tmp_path / "suite.partial-1of2.jsonl"
    while not partial.exists() or partial.read_text().count("\n") < 2:
        assert first.poll() is None
        time.sleep(0.05)
    first.kill()
    first.communicate()
    with partial.open("a", encoding="utf-8") as file:
        file.write('[2, [{"completion": "cut off')
    processes = [start(0), start(1)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    main(words(tiny_checkpoint, datasets, tmp_path / "one.jsonl"))
    assert output.read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    assert read_jsonl(output) == predicted
    assert not list(tmp_path.glob("*partial*"))


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
    with pytest.raises(UserError, match="fix --family"):
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
