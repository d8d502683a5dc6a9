"""The comparison of rewards: a figure, a table between the markers of a page, and the shipped page."""

import compare_rewards
import pytest
from unit.test_audit import make_rows

from vision_r1.files import UserError, write_jsonl
from vision_r1.zoo import ZOO

pytest.importorskip("matplotlib")


def arguments(folder, page, figure="rewards.png"):
    (folder / "page.md").write_text(page, encoding="utf-8")
    write_jsonl(folder / "train.jsonl", make_rows(6))
    words = {"train_file": "train.jsonl", "output_figure": figure, "page": "page.md"}
    return [word for name, file in words.items() for word in (f"--{name}", str(folder / file))]


def test_the_table_replaces_the_previous_one(tmp_path):
    page = f"# Before\n\n{compare_rewards.BEGIN}an older table\n{compare_rewards.END}\nAfter\n"
    compare_rewards.main(arguments(tmp_path, page))
    written = (tmp_path / "page.md").read_text(encoding="utf-8")
    before, table, after = written.replace(compare_rewards.END, compare_rewards.BEGIN).split(compare_rewards.BEGIN)
    assert (before, after) == ("# Before\n\n", "\nAfter\n")
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()[2:]}
    assert [*lines] == ["paper, stage1", "released_2025, stage1", "upstream_2026, raw", "strict, stage1", *ZOO]
    assert "| 0.25 format + 0.75 f1 + label + iou |" in lines["perception_r1"]
    assert "duplicates (AP \N{MINUS SIGN}" in lines["rex_omni_code"] and "duplicates" not in lines["rex_omni"]
    assert (tmp_path / "rewards.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", ["no marks\n", compare_rewards.END + compare_rewards.BEGIN])
def test_a_page_without_markers_is_named_and_left_unchanged(page, tmp_path):
    with pytest.raises(UserError, match="page.md: the table goes between two lines"):
        compare_rewards.main(arguments(tmp_path, page))
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page


def test_the_figure_is_svg_or_png(tmp_path, capsys):
    with pytest.raises(SystemExit):
        compare_rewards.main(arguments(tmp_path, compare_rewards.BEGIN + compare_rewards.END, "rewards.doc"))
    assert "rewards.doc': give a path that ends in .svg or .png" in capsys.readouterr().err


def test_the_shipped_page_has_every_reward_in_its_table_and_text(root):
    page = (root / "docs/rewards.md").read_text(encoding="utf-8")
    table = page[page.index(compare_rewards.BEGIN) : page.index(compare_rewards.END)]
    for name in ZOO:
        assert f"\n| {name} |" in table, "run make rewards"
        assert f"\n- **`{name}`**" in page
