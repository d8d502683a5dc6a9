"""Every family, from a base with the hub's layout, through all programs: SFT, GRPO, interruption, prediction."""

import sys
from types import SimpleNamespace

import pytest
import train_grpo
import train_sft
from PIL import Image
from tiny_models import PIXELS, make_checkpoint, write_train_file
from training_helpers import arguments, interrupt_twice, largest_change, weights_hash
from transformers import AutoModelForImageTextToText

from vision_r1.evaluation.answers import Decoding, Question
from vision_r1.evaluation.generation import Generator
from vision_r1.evaluation.vllm_generation import VllmGenerator
from vision_r1.families import FAMILIES, family
from vision_r1.files import UserError, read_jsonl
from vision_r1.model_folder import PROCESSOR_FILES, image_settings
from vision_r1.processors import load_processor, prompt_text

GRPO = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0, "beta": 0.04},
    **{"max_completion_length": 1, "criterion": "released_2025"},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
}


@pytest.fixture(scope="module", params=FAMILIES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def trained(name, tmp_path_factory):
    """{stage: folder of the model}: untrained, SFT from it, GRPO from SFT."""
    out = tmp_path_factory.mktemp(name)
    make_checkpoint(out / "base", name, {"qwen2_5_vl": "older", "qwen3_vl": "newer"}[name])
    rows = write_train_file(out, name)
    train_sft.main(arguments(out / "base", rows, out / "sft", family=name, per_device_train_batch_size=2))
    train_grpo.main(arguments(out / "sft/model", rows, out / "grpo", family=name, **GRPO))
    return {"base": out / "base", "sft": out / "sft/model", "grpo": out / "grpo/model", "rows": rows}


def test_both_methods_change_the_weights(trained):
    assert largest_change(trained["base"], trained["sft"]) > 1e-4
    assert largest_change(trained["sft"], trained["grpo"]) > 1e-5


def test_a_resumed_training_ends_with_the_same_weights(trained, name, tmp_path, monkeypatch):
    words = arguments(trained["sft"], trained["rows"], tmp_path / "grpo", family=name, **GRPO)
    interrupt_twice(train_grpo.main, words, tmp_path / "grpo/state", monkeypatch)
    train_grpo.main(words)
    assert weights_hash(tmp_path / "grpo/model") == weights_hash(trained["grpo"])


def test_plain_transformers_reads_what_was_saved(trained, name):
    model, info = AutoModelForImageTextToText.from_pretrained(trained["grpo"], output_loading_info=True)
    assert not any(info.values()), info
    assert model.config.model_type == name
    processor = load_processor(trained["grpo"], family(name), *PIXELS)
    text = prompt_text(processor, "Where?")
    row = read_jsonl(trained["rows"])[0]
    inputs = processor(images=[Image.open(row["image"])], text=[text], return_tensors="pt")
    cells = (row["input_width"] // family(name).factor) * (row["input_height"] // family(name).factor)
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == cells
    assert model(**inputs).logits.isfinite().all()


def test_the_processor_s_files_are_the_base_s_with_the_limits_of_the_training(trained):
    """So software that loads the base model loads this one, too: vLLM, plain transformers with torchvision."""
    for stage in ("sft", "grpo"):
        names = {path.name for path in trained[stage].iterdir()} & set(PROCESSOR_FILES)
        assert names == {path.name for path in trained["base"].iterdir()} & set(PROCESSOR_FILES)
        same = {file for file in names if (trained[stage] / file).read_bytes() == (trained["base"] / file).read_bytes()}
        assert names - same in ({"preprocessor_config.json"}, {"processor_config.json"})
        assert image_settings(trained[stage])["size"] == {"shortest_edge": PIXELS[0], "longest_edge": PIXELS[1]}


def test_it_predicts(trained, name):
    row = read_jsonl(trained["rows"])[0]
    generator = Generator(trained["grpo"], family(name), "float32")
    question = Question(row["image"], row["prompt"], Decoding(3, *PIXELS), row["input_width"], row["input_height"])
    (answer,) = generator.answer([question])
    assert 1 <= answer["num_tokens"] <= 3


def test_vllm_is_given_the_same_prompt(trained, name, monkeypatch):
    """vLLM's tokenizer may have another template than the processor, or none."""
    prompts = []

    class Engine:
        def __init__(self, checkpoint, **_):
            self.get_tokenizer = lambda: load_processor(checkpoint, family(name), *PIXELS).tokenizer

        def generate(self, asked, settings, **_):
            prompts.extend(each["prompt"] for each in asked)
            return []

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=Engine, SamplingParams=dict))
    row = read_jsonl(trained["rows"])[0]
    question = Question(row["image"], row["prompt"], Decoding(3, *PIXELS), row["input_width"], row["input_height"])
    VllmGenerator(trained["base"], family(name), "float32").answer([question])
    assert prompts == [Generator(trained["base"], family(name), "float32").chat(row["prompt"])]


def test_a_parent_of_another_family_is_refused(trained, name, tmp_path):
    other = next(known for known in FAMILIES if known != name)
    with pytest.raises(UserError, match=f"a model of family '{name}', not '{other}'"):
        train_sft.main(arguments(trained["base"], trained["rows"], tmp_path, family=other))
