"""Files of the configuration laid over each other: what the merged one can no longer show."""

import pytest

from vision_r1 import configuration
from vision_r1.files import UserError


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "qwen2_5_vl_3b paper",
            "qwen2_5_vl_3b.yaml: changes recipe 'paper', but the recipe is 'miniature'",
        ),
        (
            "paper released_2025 two_nodes",
            "two_nodes.yaml: sets batches, and .*released_2025.yaml does, too; leave one",
        ),
        ("paper lora_80gb upstream_2026", "upstream_2026.yaml: sets batches, and .*lora_80gb.yaml does, too"),
        ("midi paper", "paper.yaml: is recipe 'paper', but .*midi.yaml is recipe 'midi'; leave one out"),
        (
            "paper apples",
            "apples.yaml: changes recipe 'miniature', but the recipe is 'paper'; leave config",
        ),
    ],
)
def test_a_recipe_comes_first_and_alone(root, names, message):
    files = [root / f"config/{name}.yaml" for name in names.split()]
    with pytest.raises(UserError, match=message):
        configuration.check_overlays(files, "miniature")


def test_the_file_with_an_unknown_section_is_named(root, tmp_path, schema):
    mine = tmp_path / "mine.yaml"
    mine.write_text("trian: {}")
    with pytest.raises(UserError, match="mine.yaml: unknown key 'trian'; known: run, recipe, "):
        configuration.check_sections([root / "config/paper.yaml", mine], schema)
    configuration.check_sections([root / f"config/{name}.yaml" for name in ("config", "apples", "vllm")], schema)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="list.json: not a mapping of keys"):
        configuration.check_sections([tmp_path / "list.json"], schema)


def test_a_section_given_twice_in_json_is_an_error(tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text('{"sft": {"max_steps": 7}, "sft": {"learning_rate": 0.001}}')
    with pytest.raises(UserError, match="mine.json: 'sft' is given twice; merge them"):
        configuration.check_overlays([mine], "miniature")


def test_a_section_that_is_none_is_left_to_the_schema(tmp_path):
    (tmp_path / "m.yaml").write_text("over: miniature\nsft: 3\n")
    configuration.check_overlays([tmp_path / "m.yaml"], "miniature")


def test_files_over_their_recipe_are_taken(root, tmp_path):
    paper, overlay, mine = root / "config/paper.yaml", root / "config/vllm.yaml", tmp_path / "mine.json"
    mine.write_text('{"recipe": "paper"}')
    for files, recipe in (([paper, mine, overlay], "miniature"), ([mine, overlay], "miniature"), ([overlay], "paper")):
        configuration.check_overlays(files, recipe)


def test_a_second_file_over_the_recipe_may_set_anything_but_batches(tmp_path):
    files = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    files[0].write_text("over: miniature\nsft: {per_device_train_batch_size: 1}\n")
    files[1].write_text("over: miniature\nsft: {learning_rate: 0.1}\n")
    configuration.check_overlays(files, "miniature")
