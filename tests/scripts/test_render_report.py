import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import configurations
import plot_results
import pytest
import render_report
import tabulate_results
from report_factory import CHECKPOINTS, config, metrics, write
from report_run import Run, make_hostile

from vision_r1.files import UserError, read_json
from vision_r1.report.style import SHEETS
from vision_r1.run_folder import Run as Read
from vision_r1.zoo import ZOO, Entry

CONFIG = configurations.load(Path(__file__).parents[2], "paper")
HOSTILE = (
    "</pre></script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    "$\\frac{{{ 7411*7411 }}\u202e\u2066\x1b[31m"
)


class Tags(HTMLParser):
    """Collects the parts of a page that a browser would act on."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.addresses, self.handlers, self.text, self.tag = 0, [], [], "", ""
        self.seen = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tag = tag
        self.seen.add(tag)
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        if self.tag not in ("style", "script"):
            self.text += data


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("run"))
    for file in ("train_sft/sft", "train_sft/not_in_the_report/sft"):
        (run.costs / file).parent.mkdir(parents=True, exist_ok=True)
        run.costs.joinpath(f"{file}.tsv").write_text("s\th:m:s\tmax_rss\n24.5\t0:00:24\t812.4\n3\t0:00:03\t-\n")
    tabulate_results.main(run.words)
    plot_results.main(run.words)
    return run


def page_of(run, *flags):
    render_report.main(["--run", str(run.folder), *flags])
    return (run.folder / "report/index.html").read_text(encoding="utf-8")


def section(page, start, end=None):
    text = " ".join(Tags(page).text.split())
    return text[text.index(start) : text.index(end) if end else None]


def test_the_first_screen_shows_what_happened(complete):
    text = " ".join(Tags(page_of(complete)).text.split())
    assert "GRPO (strict) raised coco AP (released-one-prompt) from 36.1 to 51.3 (stage 1 +10.5, stage 2 +4.7)" in text
    assert "the SFT baseline reached 56.1 (difference −4.8, 95 % interval −6.8 to −2.8)" in text
    assert "Miniature: not comparable" in text and "coarse labels, on purpose (edges" in text
    assert text.index("Miniature: not comparable") < text.index("Did it work?") < text.index("coarse labels")
    assert "missing" not in text[: text.index("Can I trust it?")] and "Chain seed 0" in text


def test_a_typical_image_is_below_the_verdict(complete):
    page = page_of(complete)
    row = page[page.index('class="typical"') : page.index("<table")]
    assert re.findall(r'alt="([^:]+): ', row) == ["ground truth", "base", "strict stage 2"]
    assert "Partly: higher than base, lower than SFT." in section(page, "Did it work?", "A typical test image")


def test_each_link_leads_to_a_place_of_the_page(complete):
    page = page_of(complete)
    links, places = re.findall(r'href="#([^"]+)"', page), re.findall(r'id="([^"]+)"', page)
    assert len(links) > 10 and set(links) <= set(places) and len(places) == len(set(places))


def test_the_cost_is_summed_by_rule(complete):
    cost = section(page_of(complete, "--gpus", "train_sft", "8"), "What it took", "The configuration against")
    # Two jobs of 24.5 s and 3 s on 8 GPUs: 220 GPU-seconds.
    assert "train_sft228 s24 s812 MB80.1" in cost and "all228 s0.1" in cost
    unknown = section(page_of(complete), "What it took", "The configuration against")
    assert "train_sft228 s24 s812 MBmissingmissing" in unknown


def write_presets(folder, default, paper):
    """Write a folder config/ whose recipe `paper` overrides keys of `default`; other recipes differ in more keys."""
    far = {"model": {"family": "far"}}
    files = {"config": default, "datasets": {}, "experiments": {}, "paper": paper}
    for name, content in (files | {"released_2025": far, "upstream_2026": far}).items():
        (folder / f"{name}.yaml").write_text(json.dumps(content))
    return folder


def test_the_nearest_recipes_configuration_is_compared_with_this_runs(complete, tmp_path):
    def against(paper):
        flags = ["--config", str(write_presets(tmp_path, complete.config, paper))]
        return section(page_of(complete, *flags), "The configuration against", "The command")

    text = against({"reward": {"criterion": "paper"}, "model": {"revision": "abc"}, "run": "paper"})
    assert "2 keys differ" in text and "reward.criterionstrictpaper" in text and "model.revisionnot setabc" in text
    assert "All compared keys have the values of recipe paper." in against({})


def test_inputs_have_checksums_and_trainings_their_hardware(complete):
    text = section(page_of(complete), "Can I trust it?")
    assert f"training file12,048{'a' * 64}" in text and "hardwareAMD EPYC, 2 cores (where" in text


def test_differences_have_intervals(complete):
    text = " ".join(Tags(page_of(complete)).text.split())
    assert "SFT base odinw13 released-present +20.0 +15.0 +25.0 1,608 0.004 crowd \N{MINUS SIGN}10.0" in text
    assert "AP17.71.018.1reproducedtable 1" in text and "AP17.71.0–not runtable 1" in text


def test_the_main_table_has_intervals_and_stars(complete):
    text = " ".join(Tags(page_of(complete)).text.split())
    main = text[text.index("Did it work?") : text.index("Read this with the numbers")]
    # In the mean's column, and again beside each data set; one data set got worse.
    assert main.count("+15.0 to +25.0 *") == 2 and main.count("\N{MINUS SIGN}15.0 to \N{MINUS SIGN}5.0 *") == 1


def test_errors_and_slices_are_shown(complete):
    text = " ".join(Tags(page_of(complete)).text.split())
    why = text[text.index("Why?") : text.index("How sure are the numbers?")]
    # The suite's line sums four data sets with 48 errors each.
    assert "base 5.6 5.6 5.6 5.6 5.6 5.6" in why and "192 192 192 192 192 192" in why and "2 to 5 objects" in why


def test_the_audit_and_the_training_data_are_in_the_page(complete):
    text = " ".join(Tags(page_of(complete)).text.split())
    assert (
        "correlation with AP: strict/grpo_stage1 0.87." in text
        and "not used here Spearman's correlation with AP: paper, stage1 0.51." in text
        and "1 loophole" in text
        and "spampaper, stage1reference" in text
    )
    assert "12 samples about 12 images" in text and "6 samples, drawn as annotated" in text


def test_published_numbers_are_shown_for_their_configuration_and_otherwise_a_banner(complete, tmp_path):
    report = complete.config["report"] | {"banner": None}
    own = dict(CONFIG, report=report, evaluation=CONFIG["evaluation"] | complete.config["evaluation"])
    own |= {"datasets": CONFIG["datasets"] | complete.config["datasets"]}
    text = {}
    presets = write_presets(tmp_path, own, {})
    for name, base in (("paper", own), ("other", dict(own, model={**own["model"], "max_pixels": 7}))):
        shutil.copytree(complete.folder, tmp_path / name)
        write(tmp_path / name / "config.json", base)
        text[name] = " ".join(Tags(page_of(Read.read(tmp_path / name), "--config", str(presets))).text.split())
    assert "published 17.7" in text["paper"] and "Not the configuration of" not in text["paper"]
    assert "published 17.7" not in text["other"]
    assert "Not comparable with the numbers of recipe paper: configured otherwise (model.max_pixels)." in text["other"]


def test_many_experiments_are_folded(tmp_path):
    run = Run(tmp_path, images=1)
    names = [f"arm{number}" for number in range(6)]
    report = {"experiments": ["strict", "released_2025", *names]}
    run.configure({"experiments": {name: {} for name in names}, "report": report})
    for name, suite in run.scored(f"{name}/{stage}" for name in names for stage in ("grpo_stage1", "grpo_stage2")):
        write(run.metrics(name, suite), metrics(0.4, 1500, suite))
    tabulate_results.main(run.words)
    page = page_of(run)
    assert page.count("<summary>Errors: ") == 4 and page.count("<details open>") >= 2
    assert "arm5 stage 2" in page


def test_the_page_needs_nothing_from_outside(complete):
    page = page_of(complete)
    tags = Tags(page)
    assert all(address.startswith(("data:image/", "#")) for address in tags.addresses) and not tags.handlers
    assert tags.scripts == 1 and "link" not in tags.seen
    assert not re.search(r"url\(|@import", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in page and f"script-src 'sha256-{digest}'" in page


def test_each_number_has_its_command(complete):
    command = "snakemake --force --configfile config/paper.yaml --"
    text = Tags(page_of(complete, "--snakemake", command)).text
    for file in (
        complete.metrics("strict/grpo_stage2", "coco"),
        complete.training("sft"),
        complete.results,
        complete.comparison,
        complete.anchors("all"),
    ):
        assert f"{command} {file}" in text


def test_a_fetched_base_model_names_its_revision(complete):
    made = read_json(complete.training("base"))
    write(complete.training("base"), {"stage": "base", "source": "hub", "id": "Qwen/x", "revision": "0" * 40})
    assert f"Qwen/x, revision {'0' * 40}" in Tags(page_of(complete)).text
    write(complete.training("base"), made)


def test_training_seeds_get_a_table_of_their_spread(tmp_path):
    run = Run(tmp_path, images=1)
    run.configure({"report": {"training_seeds": [0, 1]}})
    measured = run.scored((*CHECKPOINTS, "sft_s1"))
    for name, suite in measured[-2:]:
        write(run.metrics(name, suite), metrics(0.501, 1500, suite))
    run.tabulate(*measured)
    text = " ".join(Tags(page_of(run)).text.split())
    assert "Over training seeds" in text and "53.150.1 to 56.1" in text
    assert "strict stage 21 missing missing" in text  # a training that failed


@pytest.mark.parametrize("words", [["--gpus", "train_sft", "x"], ["--samples", "-1"]])
def test_numbers_that_are_none(words, capsys):
    with pytest.raises(SystemExit):
        render_report.parse_args(["--run", "x", *words])
    assert f"argument {words[0]}: {words[-1]!r} is not a whole number" in capsys.readouterr().err


def test_a_run_without_scores_is_refused_with_the_remedy(tmp_path):
    write(tmp_path / "config.json", config())
    with pytest.raises(UserError, match="tables/results.csv: no such file; write it with tabulate_results.py"):
        render_report.main(["--run", str(tmp_path)])


def test_rendering_twice_gives_the_same_page(complete):
    assert page_of(complete) == page_of(complete)


def test_missing_parts_are_shown_as_missing(tmp_path):
    run = Run(tmp_path, images=2)
    scores = metrics(0.3, 1400, "coco")
    scores["protocols"]["released-one-prompt"]["mean"] = None
    write(run.metrics("base", "coco"), scores)
    run.tabulate(("base", "coco"))
    for name in ("metrics", "models", "predictions", "audit", "data", "checksums.json", "tables/comparison.json"):
        path = run.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = " ".join(Tags(page_of(run)).text.split())
    assert "Unknown. coco AP (released-one-prompt) is missing for strict: base, strict stage 1, strict stage 2." in text
    assert "Figure missing: ap_by_checkpoint." in text and "No predictions were given: missing." in text
    assert text.count("missing") > 20 and " 0.0 " not in text


def page_about(tmp_path, name, changes):
    """Return the page of a report on one experiment, all its files written."""
    run = Run(tmp_path, images=1, changes={"report": {"experiments": [name]}, "experiments": {name: changes}})
    tabulate_results.main(run.words)
    plot_results.main(run.words)
    return page_of(run)


def test_a_run_without_grpo_has_no_parts_of_grpo(tmp_path):
    page = page_about(tmp_path, "sft_matched", {"stages": ["sft"]})
    text = section(page, "AP of the base model", "What each kind of error costs")
    # Nothing stands between the heading and the figure of the loss, or between that and the next heading.
    assert "How training went Training loss of SFT" in text and "their moving average bold. Data set" in text
    assert (tmp_path / "figures/verdicts_by_step.svg").is_file()  # the workflow's rule promises it
    assert text.startswith("AP of the base model and after SFT. Dashed: SFT")
    assert not re.search("[Ss]tages? |GRPO", text)


def test_a_run_of_one_stage_does_not_speak_of_both(tmp_path):
    page = page_about(tmp_path, "beginner", {"stages": ["grpo_stage1"]})
    text = section(page, "AP of the base model", "What each kind of error costs")
    assert text.startswith("AP of the base model and after stage 1. Dashed: SFT")
    assert "Training reward and its parts: logged values faint" in text
    assert "beginner strictdual format + recall + precision0.50.5 to 0.75base" in text
    assert not re.search("both stages|[Ss]tage 2", text)


def test_without_a_reward_of_its_own_the_audit_names_those_in_its_figure(tmp_path):
    """audit_rewards.py then draws the published criteria in the first figure, and again in the second."""
    run = Run(tmp_path, images=1)
    summary = read_json(run.audit / "summary.json")
    reference = [reward for reward in summary["rewards"] if not reward["checkpoints"]]
    write(run.audit / "summary.json", summary | {"rewards": reference})
    tabulate_results.main(run.words)
    page = page_of(run)
    audit = section(page, "What the rewards reward", "How sure are the numbers?")
    assert audit.count("Spearman's correlation with AP: paper, stage1 0.51.") == 1 and "not used here" not in audit


def test_the_rewarded_parts_of_each_stage_are_shown(tmp_path, monkeypatch):
    """Experiments may differ in the weights alone, and a stage 1 of another experiment has that one's weights."""
    monkeypatch.setitem(ZOO, "my_reward", Entry(lambda answer: {}, {"iou": 1, "<b>count": 0.5}))
    own, zoo = {"reward_weights": [2.0, 1.0, 0.0]}, {"criterion": "my_reward"}
    experiments = {
        "weighted": {"stages": ["grpo_stage2"], "grpo": own, "grpo_stage2": {"init": "strict/grpo_stage1"}},
        "zoo": {"reward": zoo},
        "zoo_again": {"reward": zoo, "grpo": {"reward_weights": [2.0, 0.25]}},
    }
    changes = {"experiments": experiments, "report": {"experiments": ["strict", *experiments]}}
    run = Run(tmp_path, images=1, changes=changes)
    tabulate_results.main(run.words)
    page = page_of(run)
    text = section(page, "What the experiments reward", "Data set by data set")
    assert "weighted strictdual format + recall + precision0.50.5 to 0.75base" in text
    assert "strict2 dual format + recall0.750.75 to 0.9strict/grpo_stage1" in text
    assert "zoo my_rewardiou + 0.5 <b>count––base" in text
    assert "zoo_again my_reward2 iou + 0.25 <b>count––base" in text
    assert "<b>count" not in page


def test_a_training_seed_that_failed_is_missing_and_not_zero(tmp_path):
    """The second seed has only stage 1: no range is shown, and no mean of the numbers that exist."""
    run = Run(tmp_path, images=1)
    run.configure({"report": {"training_seeds": [0, 1], "experiments": ["strict"]}})
    names = [name for name in CHECKPOINTS if "released_2025" not in name] + ["sft_s1", "strict_s1/grpo_stage1"]
    for name, suite in run.scored(names[-2:]):
        write(run.metrics(name, suite), metrics(0.5, 1500, suite))
    run.tabulate(*run.scored(names))
    page = page_of(run)
    spread = section(page, "Over training seeds", "Read this with the numbers")
    assert "strict stage 20, 1 missing" in spread and "strict stage 10, 1 48.3" in spread
    assert "over 1 of 2 training seeds" in section(page, "Did it work?", "Over training seeds")
    assert not re.search(r"(?<![\d.])0\.0(?!\d)", section(page, "Did it work?", "Read this with the numbers"))


def test_hostile_text_is_only_text(tmp_path):
    run = Run(tmp_path, images=4)
    make_hostile(run, HOSTILE)
    tabulate_results.main(run.words)
    plot_results.main(run.words)
    tags = Tags(page_of(run, "--snakemake", HOSTILE))
    assert tags.scripts == 1 and not tags.handlers
    assert all(address.startswith(("data:image/", "#")) for address in tags.addresses)
    assert "\u202e" not in tags.text and "\\u202e" in tags.text and "\x1b" not in tags.text
    assert str(7411 * 7411) not in tags.text
    for name in ("results", *SHEETS):
        markdown = (run.folder / f"tables/{name}.md").read_text()
        latex = (run.folder / f"tables/{name}.tex").read_text()
        assert latex.startswith("% ") and "\n\\end{document}" not in latex and "\u202e" not in latex
        assert "<script>" not in markdown.replace("\\<script", "") and "\u202e" not in markdown
    for figure in sorted((run.folder / "figures").glob("*.svg")):
        assert "<script" not in (svg := figure.read_text()) and "onerror" not in re.sub("<!--.*?-->", "", svg), figure
