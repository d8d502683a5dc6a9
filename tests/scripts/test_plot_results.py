from xml.etree import ElementTree

import plot_results
import tabulate_results
from report_factory import CHECKPOINTS, metrics, write, write_lines
from report_run import Run

from vision_r1.report.style import DARK, FIGURES


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_every_figure_is_the_same_each_time(tmp_path):
    run = Run(tmp_path, images=1)
    tabulate_results.main(run.words)
    plot_results.main(run.words)
    assert files(tmp_path / "figures") == {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    before = [(tmp_path / f"figures/{name}.svg").read_bytes() for name in FIGURES]
    run.configure({"report": {"banner": None}})  # shown only below the PNG
    plot_results.main(run.words)
    assert before == [(tmp_path / f"figures/{name}.svg").read_bytes() for name in FIGURES]


def test_the_page_has_the_colours_of_the_style(tmp_path):
    run = Run(tmp_path, images=1)
    tabulate_results.main(run.words)
    plot_results.main(run.words)
    drawn = (tmp_path / "figures/ap_by_checkpoint.svg").read_text()
    assert [colour for colour in DARK if colour not in drawn] == [
        "#009e73",
        "#cc79a7",
        "#e69f00",
    ]  # colours of further experiments


def test_missing_numbers_and_hostile_names_are_drawn(tmp_path):
    run = Run(tmp_path, images=1)
    scores = metrics(0.3, 1400, "odinw13", ["$x_{", "<script>", "a" * 10_000, "\u202eabc", "\x00"])
    scores["protocols"]["released-present"]["mean"] = None
    write(run.metrics("base", "odinw13"), scores)
    run.tabulate(("base", "odinw13"))
    write_lines(run.history("strict/grpo_stage1"), [{"step": 5, "reward": None, "loss": None}])
    plot_results.main(run.words)
    assert files(tmp_path / "figures") == {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    for name in FIGURES:
        ElementTree.parse(tmp_path / f"figures/{name}.svg")


def test_no_history_says_missing(tmp_path):
    run = Run(tmp_path, images=1)
    tabulate_results.main(run.words)
    for name in CHECKPOINTS:
        write_lines(run.history(name), [])
    plot_results.main(run.words)
    assert (tmp_path / "figures/reward_by_step.svg").is_file()
