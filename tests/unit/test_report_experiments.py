"""The report covers every shipped experiment, whatever it trains itself or shares with others."""

import matplotlib.pyplot as plt
import pytest
from configurations import load
from report_factory import metrics, write

from vision_r1.configuration import presets
from vision_r1.experiments import chains, checkpoints_of, merge
from vision_r1.report.conclusion import conclusion
from vision_r1.report.figures import ap_by_checkpoint, ap_by_dataset
from vision_r1.report.page import Inputs, render
from vision_r1.report.panels import STYLE_SHEET
from vision_r1.report.results import of_metrics
from vision_r1.report.training_figures import reward_by_step
from vision_r1.run_folder import Run


@pytest.fixture(autouse=True)
def style():
    with plt.style.context(STYLE_SHEET):
        yield


@pytest.fixture(scope="module")
def config(root):
    config = load(root, "miniature")
    report = {"experiments": list(config["experiments"]), "suites": ["odinw13"]}
    evaluation = {
        "suites": {"odinw13": ["thermal", "tiny", "crowd", "wide"]},
        "suite_protocols": {"odinw13": ["released-present"]},
    }
    return merge(config, {"report": report, "evaluation": evaluation})


@pytest.fixture(scope="module")
def results(config, tmp_path_factory):
    """Results in which each checkpoint is a little better than the one before it."""
    path, found = tmp_path_factory.mktemp("metrics") / "odinw13.json", []
    for number, name in enumerate(checkpoints_of(config, config["report"]["experiments"], [0])):
        write(path, metrics(0.3 + 0.01 * number, 1400, "odinw13"))
        found += of_metrics(path, name, "odinw13", 0)
    return found


def test_every_experiment_has_its_conclusion(config, results):
    scores = {
        line.checkpoint: line.AP for line in results if line.dataset == "mean" and line.protocol == "released-present"
    }
    gained = {name: (score - scores["base"] - 0.001, score) for name, score in scores.items()}
    intervals = {(name, "base", "odinw13", "released-present"): gain for name, gain in gained.items()}
    for arm, chain in chains(config, config["report"]["experiments"], [0]).items():
        found = conclusion(results, [chain], "odinw13", "released-present", intervals)
        gain = f"from {100 * scores['base']:.1f} to {100 * scores[chain[-1]]:.1f}"
        assert found.answer in ("Yes", "Partly") and gain in found.sentence and f"({arm})" in found.sentence
        assert ("stage 1 of strict" in found.sentence) == (arm == "beginner_only")
        methods = {"sft_matched": "SFT (", "after_sft": "SFT, then GRPO ("}
        assert found.sentence.startswith(methods.get(arm, "GRPO ("))


def test_every_experiment_is_in_the_figures(config, results):
    arms = chains(config, config["report"]["experiments"], [0])
    history = [{"step": step, "reward": 1.0} for step in (5, 10)]
    histories = {name: history for chain in arms.values() for name in chain if "grpo" in name}
    ends = {f"{arm} stage 2" for arm in arms if arm != "sft_matched"} | {"sft_matched SFT"}
    for figure, names in (
        (ap_by_checkpoint(results, arms), set(arms)),
        (ap_by_dataset(results, arms), ends),
        (reward_by_step(histories, arms), set(arms) - {"sft_matched"}),
    ):
        labels = {text.get_text() for part in figure.subfigs for legend in part.legends for text in legend.get_texts()}
        assert labels - {"base", "SFT"} == names
        plt.close(figure)


def test_every_experiment_is_on_the_page(root, config, results, tmp_path):
    page = render(Inputs(results, Run(tmp_path, config), presets(root / "config")))
    assert "Unknown" not in page
    assert all(name in page for name in config["report"]["experiments"])
