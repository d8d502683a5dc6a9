"""Fetching the base model, or only its processor: from a folder, from the hub, and what can go wrong."""

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import fetch_model
import huggingface_hub
import pytest
from hub_layouts import write_processor
from tiny_models import PIXELS, make_checkpoint

from vision_r1.families import family
from vision_r1.files import SEAL, UserError, read_json, write_json
from vision_r1.models import load_model
from vision_r1.processors import load_processor

JUNK = ["pytorch_model.bin", "model.Q4_K_M.gguf", "optimizer.pt", "training_args.bin", "README.md"]
JUNK += [
    "trainer_state.json",
    ".git/HEAD",
    "checkpoint-500/model.safetensors",
    "checkpoint-500/optimizer.pt",
    "onnx/model.onnx",
]


def fetch(tmp_path, source, name, *more):
    words = [
        "--source",
        source,
        "--id",
        str(name),
        "--revision",
        "0" * 40,
        "--output_folder",
        str(tmp_path / "base/model"),
    ]
    fetch_model.main([*words, *more])
    return tmp_path / "base/model"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model's folder as on the hub, with many other files that aren't needed here."""
    folder = tmp_path_factory.mktemp("folder") / "my model"
    make_checkpoint(folder, "qwen2_5_vl", "older")
    (folder / "LICENSE").write_text("the base model's licence")
    for name in JUNK:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"junk")
    return folder


@pytest.fixture
def folder(model, tmp_path):
    """A copy that tests may damage."""
    return shutil.copytree(model, tmp_path / "my model")


def needed(folder, weights=True):
    names = {path.name for path in folder.iterdir()} - {name.partition("/")[0] for name in JUNK}
    return names if weights else names - {"model.safetensors"}


def test_only_needed_files_of_a_folder_are_taken_and_it_can_be_repeated(tmp_path, folder):
    for _ in range(2):
        metrics = tmp_path / "base/metrics.json"
        taken = fetch(tmp_path, "folder", folder, "--output_metrics", str(metrics))
        assert {path.name for path in taken.iterdir()} == needed(folder) | {SEAL}
    assert read_json(metrics) == {"stage": "base", "source": "folder", "id": str(folder), "revision": "0" * 40}
    assert sorted(os.listdir(tmp_path / "base")) == [".metrics.json.sha256", "metrics.json", "model"]
    assert (taken / "model.safetensors").samefile(folder / "model.safetensors"), "weights are linked, not copied"
    assert not (taken / "config.json").samefile(folder / "config.json"), "an edit here leaves the other folder alone"
    load_model(taken, "float32")


def test_weights_that_only_their_owner_may_read_stay_so(tmp_path, folder):
    (folder / "model.safetensors").chmod(0o600)
    fetch(tmp_path, "folder", folder)
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o600


def test_a_processor_is_fetched_without_weights(tmp_path, model):
    taken = fetch(tmp_path, "folder", model, "--processor_only")
    assert {path.name for path in taken.iterdir()} == needed(model, weights=False) | {SEAL}
    load_processor(taken, family("qwen2_5_vl"), *PIXELS)


def test_links_of_the_hub_s_cache_arrive_as_files(tmp_path, model):
    snapshot = tmp_path / "models--me--vl/snapshots/abc"
    (tmp_path / "models--me--vl/blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, name in enumerate(sorted(needed(model))):
        shutil.copy(model / name, tmp_path / f"models--me--vl/blobs/{number:040x}")
        (snapshot / name).symlink_to(f"../../blobs/{number:040x}")
    taken = fetch(tmp_path, "folder", snapshot)
    assert all(path.is_file() and not path.is_symlink() for path in taken.iterdir())
    shutil.rmtree(tmp_path / "models--me--vl")
    load_model(taken, "float32")
    load_processor(taken, family("qwen2_5_vl"), *PIXELS)


def test_a_damaged_or_quantised_model_is_refused_and_nothing_is_written(tmp_path, folder):
    size = os.path.getsize(folder / "model.safetensors")
    os.truncate(folder / "model.safetensors", size - 100)
    with pytest.raises(UserError, match=r"model.safetensors: cut off or damaged"):
        fetch(tmp_path, "folder", folder)
    write_json(folder / "config.json", {"quantization_config": {"quant_method": "awq"}})
    for more in ([], ["--processor_only"]):
        with pytest.raises(UserError, match=r"config.json: a quantised model \(awq\)"):
            fetch(tmp_path, "folder", folder, *more)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        fetch(tmp_path, "folder", tmp_path / "nowhere")
    assert not (tmp_path / "base").exists()


def test_the_source_is_not_replaced_by_its_copy(folder):
    (folder / "notes.txt").write_text("dear")
    for output in (folder, folder.parent):
        with pytest.raises(UserError, match=r"--output_folder .*: would replace --id"):
            fetch_model.main(["--source", "folder", "--id", str(folder), "--output_folder", str(output)])
    assert (folder / "notes.txt").exists()


def test_what_is_no_whole_model_is_named(tmp_path, folder):
    os.remove(folder / "model.safetensors")
    for index, message in (
        ({"weight_map": {}, "metadata": {}}, "its weight_map doesn't name files"),
        ({"weight_map": {"a": "a.safetensors"}}, 'no "metadata", which transformers reads'),
    ):
        write_json(folder / "model.safetensors.index.json", index)
        with pytest.raises(UserError, match=message):
            fetch(tmp_path, "folder", folder)
    os.rename(folder / "config.json", folder / "adapter_config.json")
    with pytest.raises(UserError, match=r"adapters without their model \(adapter_config.json\); merge them"):
        fetch(tmp_path, "folder", folder)


def test_only_needed_files_of_the_hub_are_downloaded_weights_last(tmp_path, model, hub):
    left = tmp_path / f"base/.model.{'1' * 40}.download"
    left.mkdir(parents=True)
    taken = fetch(tmp_path, "hub", model)
    assert {path.name for path in taken.iterdir()} == needed(model) | {SEAL}
    assert hub == [needed(model, weights=False), {"model.safetensors"}]
    assert not left.exists(), "leftovers of another commit's download"
    taken = fetch(tmp_path, "hub", model, "--processor_only")
    assert hub[2:] == [needed(model, weights=False)]
    assert {path.name for path in taken.iterdir()} == needed(model, weights=False) | {SEAL}


def test_two_processes_that_fetch_one_model_take_turns(tmp_path, model, hub, monkeypatch):
    fetching, serve = threading.Lock(), huggingface_hub.snapshot_download

    def slow(*words, **more):
        assert fetching.acquire(blocking=False), "two at once"
        time.sleep(0.5)
        serve(*words, **more)
        fetching.release()

    monkeypatch.setattr("huggingface_hub.snapshot_download", slow)
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(fetch, tmp_path, "hub", model) for _ in range(2)]
    assert {path.name for job in both for path in job.result().iterdir()} == needed(model) | {SEAL}
    assert len(hub) == 4
    with ThreadPoolExecutor() as pool:
        words = (str(model), "1" * 40, tmp_path / "once")
        both = [pool.submit(fetch_model.fetch_model, *words, once=True) for _ in range(2)]
    assert {job.result() for job in both} == {"1" * 40}
    assert len(hub) == 6, "the second one keeps what it waited for"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, r"a quantised model \(gptq\)"),
        ({"model_type": "qwen2_vl"}, "a model of family 'qwen2_vl'; known: qwen2_5_vl, qwen3_vl"),
        ({"model_type": "qwen2_5_vl", "auto_map": {"AutoModel": "m.M"}}, "it needs code of its own"),
    ],
)
def test_an_untrainable_model_is_refused_before_its_weights_are_downloaded(tmp_path, folder, hub, config, message):
    write_json(folder / "config.json", config)
    with pytest.raises(UserError, match=f"config.json: {message}"):
        fetch(tmp_path, "folder", folder)
    with pytest.raises(UserError, match=f"config.json: {message}"):
        fetch(tmp_path, "hub", folder)
    assert hub == [needed(folder, weights=False)]
    assert not (tmp_path / "base/model").exists()


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_all_shards_of_a_model_are_fetched(tmp_path, model, hub, source):
    shards = tmp_path / "shards"
    write_processor(shards, "qwen2_5_vl", "newer")
    load_model(model, "float32").save_pretrained(shards, max_shard_size="100KB")
    (shards / "consolidated.safetensors").write_bytes(b"the same weights once more")
    taken = fetch(tmp_path, source, shards)
    names = {path.name for path in shards.iterdir()} - {"consolidated.safetensors"} | {SEAL}
    assert {path.name for path in taken.iterdir()} == names and len(names) > 8
    load_model(taken, "float32")


def test_without_the_hub_the_repository_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="Qwen/Nothing at 0+: can't be downloaded"):
        fetch(tmp_path, "hub", "Qwen/Nothing")
