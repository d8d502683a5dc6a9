import matplotlib.pyplot as plt
import pytest
from PIL import Image
from report_factory import history, metrics, results_of, write

from vision_r1.report.figures import ap_by_checkpoint, ap_by_dataset, boxes_by_checkpoint, precision_recall
from vision_r1.report.panels import STYLE_SHEET, TOLD_APART, save, told_apart
from vision_r1.report.results import of_metrics
from vision_r1.report.training_figures import (
    REWARD,
    loss_by_step,
    reward_by_step,
    signal_by_step,
    verdicts_by_step,
)


@pytest.fixture(autouse=True)
def style():
    with plt.style.context(STYLE_SHEET):
        yield
    plt.close("all")


def chains_of(*arms):
    return {arm: [f"{arm}/grpo_stage1", f"{arm}/grpo_stage2"] for arm in arms}


def bold(axes):
    """Steps and values of the smoothed lines; the other lines are raw values and the threshold switch."""
    lines = [line for line in axes.get_lines() if line.get_linewidth() == 1.7]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in lines]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("second", [[5, 10], [15, 20]], ids=["restarted", "continued"])
def test_both_stages_share_an_axis_and_the_switch_is_marked(second):
    axes = reward_by_step(
        {
            "strict/grpo_stage1": [{"step": 5, "reward": 1.0}, {"step": 10, "reward": 2.0}],
            "strict/grpo_stage2": [{"step": step, "reward": 3.0} for step in second],
        },
        chains_of("strict"),
    ).axes[0]
    assert bold(axes) == [([5, 10], [1, 2]), ([15, 20], [3, 3])]
    assert [line.get_xdata() for line in axes.get_lines() if line.get_linestyle() == "--"] == [[10, 10]]
    assert axes.get_xlabel() == "step; from the dotted line: stage 2"


def test_an_axis_of_one_stage_does_not_speak_of_both():
    rows = [{"step": 5, "reward": 1.0}]
    both = {"x/grpo_stage1": rows, "x/grpo_stage2": rows}
    for histories, label in ((both, "step; from the dotted line: stage 2"), ({"x/grpo_stage1": rows}, "step")):
        assert reward_by_step(histories, chains_of("x")).axes[0].get_xlabel() == label


def test_the_raw_values_of_each_training_seed_are_behind_the_smoothed_mean():
    rows = [{"step": step, "reward": float(step % 2)} for step in range(40)]
    histories = {"strict/grpo_stage1": rows, "strict_s1/grpo_stage1": rows}
    axes = reward_by_step(histories, chains_of("strict", "strict_s1")).axes[0]
    faint = [line for line in axes.get_lines() if line.get_alpha()]
    ((_, smooth),) = bold(axes)
    assert [list(line.get_ydata()) for line in faint] == [[row["reward"] for row in rows]] * 2
    assert max(smooth) - min(smooth) < 0.5


def test_lines_differ_without_colour_too():
    histories = {f"{name}/grpo_stage1": [{"step": 5, "reward": 1.0}] for name in ("strict", "released_2025")}
    axes = reward_by_step(histories, chains_of("strict", "released_2025")).axes[0]
    assert len({line.get_marker() for line in axes.get_lines() if not line.get_alpha()}) == 2


def test_many_experiments_get_separate_panels_with_the_same_scale():
    names = [f"arm{number}" for number in range(TOLD_APART * 2)]
    histories = {f"{name}/grpo_stage1": history(1, seed) for seed, name in enumerate(names)}
    figure = reward_by_step(histories, chains_of(*names))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left") == REWARD["reward"][0]]
    assert len(panels) == 2 and all(len(bold(axes)) == TOLD_APART for axes in panels)
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_each_part_of_a_reward_has_a_panel_whatever_it_is_called():
    histories = {
        "strict/grpo_stage1": [{"step": 1, "reward": 2.0, "rewards/dual_format/mean": 0.5}],
        "rex_omni/grpo_stage1": [{"step": 1, "reward": 1.2, "rewards/f1/mean": 1.2, "rewards/f1/std": 0.1}],
    }
    panels = reward_by_step(histories, chains_of("strict", "rex_omni")).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["total reward", "dual format reward", "f1 reward"]
    assert [round(axes.get_ylim()[1], 2) for axes in panels[1:]] == [1.04, 1.25]  # Rex-Omni's may exceed 1


def test_a_number_that_was_not_logged_is_marked_as_missing():
    rows = [{"step": 1, "entropy": 1.5, "kl": None}, {"step": 2, "entropy": 1.4}]
    figure = signal_by_step({"strict/grpo_stage1": rows}, chains_of("strict"))
    assert texts(figure).count("not logged") == 5


def test_verdicts_that_never_occurred_have_no_panel():
    rows = [{"step": 1, "verdicts/fenced": 0.9, "verdicts/not_json": 0.1, "verdicts/capped": 0.0}]
    figure = verdicts_by_step({"strict/grpo_stage1": rows}, chains_of("strict"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["fenced", "not json"]


@pytest.mark.parametrize("draw", [reward_by_step, signal_by_step, verdicts_by_step])
@pytest.mark.parametrize("histories", [{}, {"sft": [], "strict/grpo_stage1": [{"step": 5, "train_runtime": 3.0}]}])
def test_without_history_the_figure_has_a_note(draw, histories):
    assert texts(draw(histories, chains_of("strict")))[0].startswith("missing: ")
    assert texts(loss_by_step(histories))[0].startswith("missing: ")


def test_precision_recall_leaves_out_checkpoints_without_a_curve(tmp_path):
    scores = metrics(0.3, 1400, "coco")
    path = write(tmp_path / "coco.json", scores)
    results = [result for name in ("base", "sft") for result in of_metrics(path, name, "coco", 0)]
    curves = {("base", "coco"): scores, ("sft", "coco"): metrics(0.3, 1400, "coco")}
    for protocol in curves["sft", "coco"]["protocols"].values():
        protocol["precision_recall"] = None
    panels = precision_recall(results, {}, curves).axes
    assert [len(axes.get_lines()) for axes in panels] == [2, 2]
    assert texts(precision_recall(results, {}, {})) == ["missing: precision-recall curves"]


ALIKE = [f"an_experiment_whose_name_is_very_long_{number}" for number in (1, 2)]


def scores(tmp_path, ap=0.6):
    """AP of the base model and two experiments on one benchmark, almost equal."""
    found = []
    for number, name in enumerate(["base", *(f"{arm}/grpo_stage2" for arm in ALIKE)]):
        content = metrics(ap + 0.001 * number, 800, "coco")
        del content["protocols"]["all-categories"]
        found += of_metrics(write(tmp_path / f"{number}.json", content), name, "coco", 0)
    return found


def test_long_names_and_a_long_note_leave_a_figure_narrow(tmp_path):
    figure = ap_by_checkpoint(scores(tmp_path), chains_of(*ALIKE))
    assert figure.get_figheight() > 2.6  # the legend's second line takes nothing from the panel
    save(figure, tmp_path / "ap", "a long warning " * 20)
    width, height = Image.open(tmp_path / "ap.png").size
    assert width < 5.2 * 200 and height > 3 * 200  # dots, 200 an inch


def test_long_names_with_equal_beginnings_stay_apart():
    histories = {f"{name}/grpo_stage1": history(1) for name in ALIKE}
    figure = reward_by_step(histories, chains_of(*ALIKE))
    (names,) = ([text.get_text() for text in part.legends[0].get_texts()] for part in figure.subfigs)
    assert names == ["an_experiment_whos…me_is_very_long_1", "an_experiment_whos…me_is_very_long_2"]
    middle = ["first".join("ab" * 20 for _ in range(2)), "other".join("ab" * 20 for _ in range(2))]
    short, *others = told_apart(["short", *middle])
    assert short == "short" and len(set(others)) == 2


@pytest.mark.parametrize("protocol", ["one-prompt", "released-one-prompt", "a_protocol_of_ours_with_a_long_name"])
def test_the_title_of_a_panel_stays_clear_of_the_next_panel(tmp_path, protocol):
    content = metrics(0.6, 800, "coco")
    content["protocols"] = {name: content["protocols"]["all-categories"] for name in (protocol, "another")}
    figure = ap_by_checkpoint(of_metrics(write(tmp_path / "scores.json", content), "base", "coco", 0), {})
    figure.canvas.draw()
    left, right = figure.axes
    assert left._left_title.get_window_extent().x1 < right.get_window_extent().x0 - 8


def test_a_line_that_starts_from_sft_goes_through_it(tmp_path):
    results = results_of(tmp_path, {"base": 0.1, "sft": 0.4, "x/grpo_stage1": 0.3}, suites=("coco",))
    axes = ap_by_checkpoint(results, {"x": ["sft", "x/grpo_stage1"]}).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["base", "SFT", "stage 1"]
    (line,) = (line for line in axes.get_lines() if list(line.get_xdata()) == [0, 1, 2])
    assert list(line.get_ydata()) == pytest.approx([10, 40, 30])


def test_without_grpo_a_line_goes_from_base_to_sft(tmp_path):
    results = results_of(tmp_path, {"base": 0.1, "x/sft": 0.4}, suites=("coco",))
    axes = ap_by_checkpoint(results, {"x": ["x/sft"]}).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["base", "SFT"]
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [pytest.approx([10, 40])]


def test_the_highest_marker_is_not_cut(tmp_path):
    (axes,) = ap_by_checkpoint(scores(tmp_path), chains_of(*ALIKE)).axes
    top, highest = axes.get_ylim()[1], max(max(line.get_ydata()) for line in axes.get_lines())
    assert axes.get_ylim()[0] == 0 and top > 1.05 * highest


def test_a_marker_at_zero_is_drawn_whole(tmp_path):
    path = write(tmp_path / "scores.json", metrics(0.0, 800, "odinw13", ["one", "another"]))
    base = ap_by_dataset(of_metrics(path, "base", "odinw13", 0), {}).axes[0].get_lines()[0]
    assert len(base.get_xdata()) == 3 and not base.get_clip_on()


def test_panels_of_data_sets_have_one_scale(tmp_path):
    results = []
    for suite, ap in (("coco", 0.2), ("odinw13", 0.6)):
        path = write(tmp_path / f"{suite}.json", metrics(ap, 800, suite, ["one", "two"]))
        results += of_metrics(path, "base", suite, 0)
    panels = ap_by_dataset(results, {}).axes
    assert len(panels) > 1 and len({axes.get_xlim() for axes in panels}) == 1


def test_one_box_per_object_is_marked_where_a_model_predicts_fewer(tmp_path):
    (axes,) = boxes_by_checkpoint(scores(tmp_path), chains_of(*ALIKE)).axes
    assert [1, 1] in [list(line.get_ydata()) for line in axes.get_lines()] and axes.get_ylim()[1] > 1
