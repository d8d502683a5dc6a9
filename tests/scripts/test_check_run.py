"""The preflight program: its page, its JSON, and the problems that stop a run."""

import shutil

import check_run
import pytest
from configurations import load
from tiny_models import make_checkpoint

from vision_r1.data.tokens import ProcessorTokens, token_lengths
from vision_r1.families import family
from vision_r1.files import UserError, read_json, read_jsonl, write_json, write_jsonl
from vision_r1.processors import load_processor, prompt_text


@pytest.fixture
def words(tmp_path):
    """Return the program's arguments for a configuration; of the run only files that a test writes exist."""

    def build(config, train_file=None):
        write_json(tmp_path / "config.json", config)
        (tmp_path / "data").mkdir(exist_ok=True)
        if train_file:
            shutil.copy(train_file, tmp_path / "data/train.jsonl")
        places = {
            "run": tmp_path,
            "output_page": tmp_path / "preflight.txt",
            "output_summary": tmp_path / "preflight.json",
        }
        return [word for key, value in places.items() for word in (f"--{key}", str(value))]

    return build


@pytest.fixture
def in_root(root, monkeypatch):
    """Paths of accelerate's files are relative to the project."""
    monkeypatch.chdir(root)


def test_the_papers_page_without_data_or_model(root, in_root, words, tmp_path, capsys):
    config = load(root, "paper")
    config["preflight"] |= {"price_per_gpu_hour": 2.0, "currency": "EUR"}
    check_run.main(words(config))
    text = capsys.readouterr().out
    assert text == (tmp_path / "preflight.txt").read_text()
    for sentence in (
        "Qwen/Qwen2.5-VL-7B-Instruct, bfloat16; sizes from the published config.json",
        "8,292,166,656 parameters",
        "16 prompts x 4 completions = 64 completions",
        "15.4 GiB  weights gathered to sample",
        "An object takes 33 tokens of an answer (at most, on COCO with Qwen's vocabulary",
        "step_1/grpo_stage1: completions end at 512 tokens, 15 objects fit; every right answer fits.",
        "Protocol released-one-prompt: answers end at 512 tokens, 15 objects fit.",
        "step_1/grpo_stage1: a checkpoint of 132.7 GB every 500 steps (3.0 hours): 4 in all, 530.7 GB.",
        "1,724.8 GB of checkpoints are written in all.",
        "Curation drops prompts of more than 1,024 tokens.",
        "the card has 79.6",
        "of trainer states for each running training",
        "With config/accelerate/zero2.yaml in compute.launch: ",
        "Assumed, not measured: 35 % of the card's arithmetic",
        "or 0.9 ms per layer and token where that is longer (with all weights on each GPU: 0.4 ms, with adapters",
        "ZeRO-3's hooks take 12 ms per layer, forward and backward",
        "Protocol released-one-prompt shows images of 784 to 10,035,200 pixels to every checkpoint",
        "The processor of Qwen/Qwen2.5-VL-7B-Instruct is not here yet",
        "The training file doesn't exist yet",
        "Prediction of coco, odinw13 is not in the hours: annotations are not here yet.",
        "Nothing.",
    ):
        assert sentence in text, sentence
    summary = read_json(tmp_path / "preflight.json")
    hours = sum(training["gpu_hours"] for training in summary["trainings"])
    assert f"Together {hours:,.1f} GPU-hours, {2 * hours:,.0f} EUR." in text
    assert summary["problems"] == []


def test_the_miniatures_page_with_its_data_and_checkpoints(root, words, tmp_path, train_file, tiny_checkpoint, capsys):
    rows = read_jsonl(train_file)
    counts = [{"prompt_tokens": 100 + number, "image_tokens": 9, "answer_tokens": 5 * number} for number in range(8)]
    write_jsonl(tmp_path / "data/train.jsonl", [{**row, **count} for row, count in zip(rows, counts, strict=True)])
    config = load(root, "smoke")
    config["grpo"] |= {"completion_room": None, "max_completion_length": 20}
    config["preflight"]["measured"] = [str(tmp_path / "earlier.json")]
    write_json(tmp_path / "earlier.json", {"stage": "sft", "seconds": 36.0, "processes": 1, "samples_seen": 10})
    shutil.copytree(tiny_checkpoint, tmp_path / "models/sft/model")
    write_json(tmp_path / "models/sft/metrics.json", {})
    check_run.main(words(config))
    text = capsys.readouterr().out
    assert "The existing training file was counted with another processor: make it again." in text
    assert "Counted: prompt 107 tokens (9 of the image, 98 of the text), right answer 35." in text
    # Three of eight answers are above the limit: those of 25, 30 and 35 tokens.
    assert "completions end at 20 tokens, 3 objects fit; 37.5 % of the right answers are longer" in text
    assert "An object takes 5 tokens of an answer (on average, by the model's own tokenizer)." in text
    assert "sft: 0.0 GPU-hours, at the speed of an earlier training." in text
    assert "section preflight names no card" in text
    summary = read_json(tmp_path / "preflight.json")
    assert summary["trainings"][0]["gpu_hours"] == 4 * 4 * 3.6 / 3600
    assert summary["model"]["sizes_from"] == "section base"


def test_what_stops_a_run(root, in_root, words, tmp_path, train_file, tiny_checkpoint):
    paper, smoke = load(root, "paper"), load(root, "smoke")

    paper["preflight"]["gpu_memory_gib"] = 30
    with pytest.raises(
        UserError, match=r"step_1/grpo_stage1 needs about \d+.* GiB on each GPU, the card has 30: give sm"
    ):
        check_run.main(words(paper))
    assert "Problems" in (tmp_path / "preflight.txt").read_text(), "the page is written nevertheless"

    rows = read_jsonl(train_file)
    write_jsonl(tmp_path / "data/train.jsonl", [*rows[:4], {**rows[4], "image": "gone.png"}, *rows[5:]])
    with pytest.raises(UserError, match="train.jsonl: row 5: gone.png: no such image"):
        check_run.main(words(smoke))
    (tmp_path / "data/train.jsonl").unlink()

    paper["preflight"]["gpu_memory_gib"] = 200
    paper["compute"]["launch"] = ["python"]
    with pytest.raises(UserError, match=r"model.dtype \(sft, .*\): weights in bfloat16 without a float32 copy"):
        check_run.main(words(paper))

    with pytest.raises(UserError, match="one generation takes 16 prompts .* has 8 rows"):
        check_run.main(words(load(root, "miniature"), train_file=train_file))

    shutil.copytree(tiny_checkpoint, tmp_path / "models/sft/model")
    write_json(tmp_path / "models/sft/metrics.json", {})
    write_json(tmp_path / "models/sft/model/config.json", {"model_type": "qwen3_vl"})
    with pytest.raises(UserError, match="models/sft/model/config.json: a model of family 'qwen3_vl'"):
        check_run.main(words(smoke))


def test_files_of_another_configuration_are_reported(root, words, tmp_path, train_file, tiny_checkpoint, capsys):
    """They are no error: Snakemake makes them again."""
    smaller = load(root, "smoke")
    smaller["model"]["max_pixels"] = 3136
    shutil.copytree(tiny_checkpoint, tmp_path / "models/sft/model")
    write_json(tmp_path / "models/sft/metrics.json", {})
    check_run.main(words(smaller, train_file=train_file))
    text = capsys.readouterr().out
    assert "The existing training file is for other pixel limits or another family: make it again." in text
    assert "The existing checkpoints were trained under other pixel limits: train them again." in text
    older = tmp_path / "older.jsonl"
    write_jsonl(older, [{key: row[key] for key in row if key != "answer"} for row in read_jsonl(train_file)])
    check_run.main(words(load(root, "smoke"), train_file=older))
    assert "The existing training file was written by another version: make it again." in capsys.readouterr().out


def test_adapters_can_not_be_merged_while_weights_are_split(root, in_root, words):
    config = load(root, "lora_80gb")
    config["compute"]["launch"] = load(root, "paper")["compute"]["launch"]
    with pytest.raises(
        UserError, match=r"lora \(sft, step_1, step_1_2\): adapters can't be merged while weights are split"
    ):
        check_run.main(words(config))


def test_each_arm_trains_adapters_or_all_weights_of_its_own(root, in_root, words):
    config = load(root, "paper")
    config["report"]["experiments"] += ["lora"]
    with pytest.raises(UserError, match=r"lora \(lora\): adapters can't be merged while weights are split"):
        check_run.main(words(config))
    config = load(root, "lora_80gb")
    config["experiments"]["whole"] = config["experiments"]["step_1"] | {"lora": None}
    config["report"]["experiments"] += ["whole"]
    with pytest.raises(UserError, match=r"model.dtype \(whole\): weights in bfloat16 without a float32 copy"):
        check_run.main(words(config))


def test_vllm_needs_room_for_prompt_and_completion(root, in_root, words):
    config = load(root, "vllm")
    config["grpo"]["vllm_max_model_length"] = 1000
    with pytest.raises(UserError, match="vllm_max_model_length: 1000 tokens, but the longest .* are 1258 together"):
        check_run.main(words(config))


def test_a_vllm_server_is_on_other_gpus(root, in_root, words, capsys):
    config = load(root, "vllm")
    config["grpo"] |= {"vllm_mode": "server", "vllm_server_host": "node7", "vllm_max_model_length": 1000}
    check_run.main(words(config))
    text = capsys.readouterr().out
    assert "The GPUs of the vLLM server are not counted" in text and "GiB  vLLM" not in text


def test_vllms_share_of_a_gpu_must_have_room_for_its_weights(root, in_root, words):
    config = load(root, "vllm")
    config["grpo"]["vllm_gpu_memory_utilization"] = 0.15
    with pytest.raises(UserError, match="11.9 GiB are vLLM's share of a GPU, its weights are 15.4 GiB there"):
        check_run.main(words(config))
    config["grpo"]["vllm_tensor_parallel_size"] = 2
    check_run.main(words(config))


def test_estimates_that_need_an_unknown_model_are_left_out(root, in_root, words, capsys):
    config = load(root, "paper")
    config["model"]["id"] = "me/mine"
    check_run.main(words(config))
    text = capsys.readouterr().out
    assert "Memory, disk and hours: me/mine is not here yet" in text
    assert "GPU-hours" not in text and "16 prompts x 4 completions" in text


def test_prompts_of_suites_with_annotations_are_counted(root, in_root, words, tmp_path, capsys):
    def annotations(name, objects):
        """Two images of 100 x 56 pixels and three categories; `objects` are (image, category)."""
        images = [{"id": key, "file_name": f"{key}.png", "width": 100, "height": 56} for key in (1, 2)]
        categories = [{"id": key, "name": f"kind {key}"} for key in (1, 2, 3)]
        boxes = [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": [5, 5, 20, 20],
                "area": 400,
                "iscrowd": 0,
            }
            for number, (image, category) in enumerate(objects, start=1)
        ]
        path = tmp_path / f"{name}.json"
        write_json(path, {"images": images, "categories": categories, "annotations": boxes})
        config["datasets"][name] = {"annotations": str(path), "images": str(tmp_path)}

    config = load(root, "paper")
    config["evaluation"]["suites"] = {"coco": ["coco_val2017"], "odinw13": ["odinw_pistols", "odinw_pothole"]}
    annotations("coco_val2017", [(1, 1)])
    check_run.main(words(config))
    text = capsys.readouterr().out
    assert "coco, protocol released-one-prompt: 2 prompts for each of 5 checkpoints." in text
    assert "Prediction of odinw13 is not in the hours" in text
    one = read_json(tmp_path / "preflight.json")["prediction"]["gpu_hours"]

    annotations("odinw_pistols", [(1, 1), (1, 1), (1, 2), (2, 3)])
    annotations("odinw_pothole", [])
    check_run.main(words(config))
    text = capsys.readouterr().out
    # Present categories: two in the first image and one in the second; all categories: 2 data sets x 2 images x 3.
    assert "odinw13, protocol released-present: 3 prompts" in text and "all-categories: 12 prompts" in text
    assert read_json(tmp_path / "preflight.json")["prediction"]["gpu_hours"] > one > 0
    assert "prediction: " in text and "not in the hours" not in text


def test_memory_is_for_the_largest_image_and_hours_are_for_the_mean_one(root, words, tmp_path, train_file):
    config, rows, found = load(root, "smoke"), read_jsonl(train_file), []
    config["preflight"] |= {"gpu": "x", "gpu_memory_gib": 80, "gpu_tflops": 100, "gpu_bandwidth_gb": 1000}
    for image in (1, 64):  # of all rows but two; prompts have the same length
        counts = [{"prompt_tokens": 100, "image_tokens": each, "answer_tokens": 20} for each in (1, 64, *[image] * 6)]
        write_jsonl(tmp_path / "data/train.jsonl", [row | count for row, count in zip(rows, counts, strict=True)])
        check_run.main(words(config))
        found.append(read_json(tmp_path / "preflight.json")["trainings"][0])
    assert found[0]["memory"] == found[1]["memory"]
    assert found[0]["training_seconds"] < found[1]["training_seconds"]


def test_disk_is_for_the_archives_that_the_run_has_yet_to_download(root, words, tmp_path, monkeypatch):
    """Those of its training data, the report's suites and data.keep_out; not those of suites that it doesn't report."""
    monkeypatch.chdir(tmp_path)
    config = load(root, "lora_80gb")
    config["data"] |= {"train": ["coco_train2017"], "detection": 1000, "grounding": 0, "negative": 0, "rec": 0}
    config["data"]["keep_out"], config["report"]["suites"] = ["odinw_mushrooms"], ["coco"]
    config["archives"]["odinw_mushrooms"]["bytes"] = 5

    def disk():
        check_run.main(words(config))
        found = read_json(tmp_path / "preflight.json")["disk"]
        return found["archives"], found["archives_of_unknown_size"]

    coco = ("coco_annotations", "coco_train2017", "coco_val2017")
    assert disk() == (5 + sum(config["archives"][name]["bytes"] for name in coco), 0)
    for name in coco[1:]:  # the manifests of archives that are unpacked
        write_json(tmp_path / f"results/downloads/{name}.json", {})
    assert disk() == (5 + config["archives"]["coco_annotations"]["bytes"], 0)


@pytest.fixture
def of_folder(root, tmp_path):
    """A configuration whose base model is a folder with the hub's layout, and that folder."""
    folder = tmp_path / "my model"
    make_checkpoint(folder, "qwen2_5_vl", "older")
    config = load(root, "smoke")
    config["model"] |= {"source": "folder", "id": str(folder)}
    return config, folder


def test_the_processor_of_the_run_counts_what_curation_did_not(of_folder, words, tmp_path, train_file, capsys):
    config, folder = of_folder
    check_run.main(words(config, train_file=train_file))
    assert "The training file has no token counts" not in capsys.readouterr().out
    lengths = read_json(tmp_path / "preflight.json")["lengths"]
    qwen = family("qwen2_5_vl")
    processor = load_processor(folder, qwen, config["model"]["min_pixels"], config["model"]["max_pixels"])
    rows = read_jsonl(train_file)
    counted = ProcessorTokens(processor).count(rows)
    counts = [token_lengths(row, pair, qwen) for row, pair in zip(rows, counted, strict=True)]
    assert lengths["text"] == max(count["prompt_tokens"] - count["image_tokens"] for count in counts)
    text = prompt_text(processor, max((row["prompt"] for row in rows), key=len))
    assert "You are a helpful assistant." in text
    assert lengths["text"] == len(processor.tokenizer(text).input_ids) - 1, "all tokens except the image's"

    write_jsonl(tmp_path / "data/train.jsonl", [row | count for row, count in zip(rows, counts, strict=True)])
    check_run.main(words(config))
    assert "another processor" not in capsys.readouterr().out
    assert read_json(tmp_path / "preflight.json")["lengths"] == lengths


def test_an_untrainable_base_model_stops_the_run(of_folder, words):
    config, folder = of_folder
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1])
    with pytest.raises(UserError, match="my model/model.safetensors: cut off or damaged"):
        check_run.main(words(config))
    (folder / "model.safetensors").write_bytes(weights)
    config["model"]["family"] = "qwen3_vl"
    with pytest.raises(UserError, match="a model of family 'qwen2_5_vl', not 'qwen3_vl'; fix the family"):
        check_run.main(words(config))
    config["model"]["family"] = "qwen2_5_vl"
    (folder / "chat_template.json").write_text("{}")
    with pytest.raises(UserError, match="my model: no processor can be built from its files"):
        check_run.main(words(config))
    write_json(folder / "config.json", {"model_type": "qwen2_5_vl", "quantization_config": {"quant_method": "awq"}})
    with pytest.raises(UserError, match=r"my model/config.json: a quantised model \(awq\)"):
        check_run.main(words(config))
