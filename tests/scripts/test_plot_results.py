from xml.etree import ElementTree

import plot_results
import tabulate_results
from report_factory import CHECKPOINTS, Run, metrics, write, write_lines

from vision_r1.report.style import DARK, FIGURES


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_draws_every_figure_the_same_each_time(tmp_path):
    run = Run(tmp_path, images=1)
    tabulate_results.main(run.flags_of_tabulate())
    plot_results.main([*run.flags_of_plot(), "--note", "Not comparable"])
    assert files(tmp_path / "figures") == {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    before = [(tmp_path / f"figures/{name}.svg").read_bytes() for name in FIGURES]
    plot_results.main(run.flags_of_plot())
    assert before == [(tmp_path / f"figures/{name}.svg").read_bytes() for name in FIGURES]


def test_the_page_knows_the_colours_of_the_style(tmp_path):
    run = Run(tmp_path, images=1)
    tabulate_results.main(run.flags_of_tabulate())
    plot_results.main(run.flags_of_plot())
    drawn = (tmp_path / "figures/ap_by_checkpoint.svg").read_text()
    assert [colour for colour in DARK if colour not in drawn] == [
        "#009e73",
        "#cc79a7",
        "#e69f00",
    ]  # a third experiment's, and so on


def test_missing_numbers_and_hostile_names_draw_too(tmp_path):
    run = Run(tmp_path, images=1)
    scores = metrics(0.3, 1400, "odinw13", ["$x_{", "<script>", "a" * 10_000, "\u202eabc", "\x00"])
    scores["protocols"]["released-present"]["mean"] = None
    write(run.metrics("base", "odinw13"), scores)
    tabulate_results.main(run.flags_of_tabulate(CHECKPOINTS[:1], ("odinw13",)))
    write_lines(run.history("strict/grpo_stage1"), [{"step": 5, "reward": None, "loss": None}])
    plot_results.main(run.flags_of_plot())
    assert files(tmp_path / "figures") == {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    for name in FIGURES:
        ElementTree.parse(tmp_path / f"figures/{name}.svg")


def test_no_history_says_missing(tmp_path):
    run = Run(tmp_path, images=1)
    tabulate_results.main(run.flags_of_tabulate())
    plot_results.main(run.flags_of_plot()[:6])
    assert (tmp_path / "figures/reward_by_step.svg").is_file()
