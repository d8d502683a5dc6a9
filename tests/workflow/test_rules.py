"""What every rule must have, as Snakemake reads it: documentation, logs, resources, quoting, where it may run."""

import json
import re

import pytest
import yaml
from project import copy_project

# A Snakefile around ours that writes down what Snakemake understood.
PROBE = """
include: "Snakefile"

def known(each):
    return {
        "docstring": each.docstring,
        "shell": each.shellcmd,
        "log": list(each.log),
        "benchmark": each.benchmark is not None,
        "conda": each.conda_env and str(each.conda_env),
        "resources": sorted(each.resources),
        "retries": each.ruleinfo.retries or 0,
        "local": each.name in workflow._localrules,  # in a dry run, workflow.is_local says so of all
    }


Path("rules.json").write_text(json.dumps({each.name: known(each) for each in workflow.rules}))
"""


@pytest.fixture(scope="module")
def rules(root, tmp_path_factory):
    """Rule -> what Snakemake knows about it, with a base model that is made here and with one from the hub."""
    project = copy_project(root, tmp_path_factory.mktemp("rules"))
    (project.folder / "probe.smk").write_text(PROBE)
    found = {}
    for words in ([], ["--configfile", "config/paper.yaml"]):
        project.snakemake("--snakefile", "probe.smk", *words, "--dry-run", "--", "preflight")
        found |= json.loads((project.folder / "rules.json").read_text())
    return {name: rule for name, rule in found.items() if rule["shell"]}


def test_every_rule_that_runs_something_is_complete(rules):
    assert {"make_base_model", "fetch_base_model", "train_grpo", "preflight"} <= rules.keys()
    for name, rule in rules.items():
        assert rule["docstring"] and rule["log"], name
        assert {"mem_mb", "runtime", "gpu", "_cores"} <= set(rule["resources"]), name
        # A benchmark file would count as an output; the preflight has no outputs, so that it always runs. Snakemake
        # allows no benchmark file in a rule whose output is cached between workflows.
        assert rule["benchmark"] or name in ("preflight", "download_archive"), name


def test_every_rule_uses_the_same_environment(rules):
    assert {rule["conda"].rpartition("/")[2] for rule in rules.values()} == {"environment.yml"}


def test_everything_reaches_the_shell_quoted(rules):
    """Paths and config values in a shell command have :q; wildcards and the schema's enums don't need it."""
    safe = {"wildcards.suite", "params.batch_size", "params.score_policy", "params.seed", "threads"}
    for rule in rules.values():
        fields = set(re.findall(r"{([\w.\[\]]+)}", rule["shell"]))
        assert fields <= safe, fields - safe


def test_every_rule_that_downloads_runs_where_snakemake_runs(rules):
    """Compute nodes may have no internet: programs that need it belong to local rules."""
    reaching = re.compile(r"scripts/(?:fetch_|download_)\w+\.py")
    downloads = {name for name, rule in rules.items() if reaching.search(rule["shell"])}
    assert downloads and downloads <= {name for name, rule in rules.items() if rule["local"]}
    # Other rules get their retries from the profile: a rule's own would restart it in the SLURM job that is ending.
    assert {name for name, rule in rules.items() if rule["retries"]} <= downloads


def test_the_slurm_profile_covers_every_job_with_a_model(rules, root):
    slurm = yaml.safe_load((root / "profiles/slurm/config.yaml").read_text())
    with_model = [name for name in rules if name.startswith(("train_", "predict_", "make_base_"))]
    assert sorted(with_model) == sorted(slurm["set-resources"]) == sorted(slurm["preemptible-rules"])
