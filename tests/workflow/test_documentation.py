"""The code blocks of README and docs: Python is run as printed, YAML and JSON are read, shell commands are checked."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import coco_factory
import pytest
import yaml
from configurations import load
from tiny_models import make_checkpoint, write_train_file

from vision_r1 import configuration
from vision_r1.data.coco import read_coco
from vision_r1.experiments import merge
from vision_r1.rewards import REWARDS

PYTHON = {"train": "GRPOTrainer(", "cut": "instances_train2017"}  # strings that identify the blocks
CHECKED = ("snakemake", "make", "python", "pip")  # commands; others can't run here, for these reasons:
ELSEWHERE = {
    "vllm": "needs a GPU",
    "torchrun": "starts VLMEvalKit's program, in its folder",
    "accelerate": "starts lmms-eval, in its environment",
    "export": "sets a variable",
}
WRITTEN = "config/mine.yaml"  # by new_run.py, from the reader's data; test_own_labels.py runs such a file


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its position, language and text."""

    place: str
    language: str
    text: str

    @property
    def commands(self):
        """The words of each command in a shell block, without leading variables and without what it is piped into."""
        lines = self.text.replace("\\\n", " ").splitlines()
        for words in filter(None, (shlex.split(line, comments=True) for line in lines)):
            while re.match(r"\w+=", words[0]):
                del words[0]
            yield words[: words.index("|")] if "|" in words else words


@pytest.fixture(scope="module")
def blocks(root):
    found = []
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        text = page.read_text()
        fenced = list(re.finditer(r"^```(\w+)\n(.*?)^```\n", text, re.M | re.S))
        assert 2 * len(fenced) == text.count("```"), f"{page.name}: a block without language or end, or indented"
        between = re.sub(r"^```\w+\n.*?^```\n", "", text, flags=re.M | re.S)
        assert not re.search(r"\n\n {4}\S", between), f"{page.name}: an indented block; fence it"
        for block in fenced:
            line = text.count("\n", 0, block.start()) + 1
            found.append(Block(f"{page.relative_to(root)}:{line}", *block.groups()))
    return found


@pytest.fixture
def commands(blocks):
    """Return a function: a word -> position and words of every command that starts with it."""

    def find(name):
        shell = [(block.place, words) for block in blocks if block.language == "sh" for words in block.commands]
        return [(place, words[1:]) for place, words in shell if words[0] == name]

    return find


@pytest.fixture
def run_python(root, tmp_path):
    """Return a function that runs a page's Python block, as printed, in tmp_path."""

    def run(block):
        environment = os.environ | {"PYTHONPATH": str(root / "workflow/scripts"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", block.text]
        finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert finished.returncode == 0, f"{block.place}: {finished.stderr}"

    return run


@pytest.fixture
def python_block(blocks):
    """Return a function: a name of PYTHON -> its block."""

    def find(name):
        (block,) = [block for block in blocks if block.language == "python" and PYTHON[name] in block.text]
        return block

    return find


@pytest.mark.slow
def test_a_users_script_trains_on_the_pipelines_file(python_block, run_python, tmp_path):
    miniature = tmp_path / "results/miniature"
    make_checkpoint(miniature / "models/base/model", "qwen2_5_vl")
    (miniature / "data").mkdir()
    write_train_file(miniature / "data", "qwen2_5_vl")
    run_python(python_block("train"))
    (state,) = tmp_path.glob("results/own/*/trainer_state.json")
    steps = json.loads(state.read_text())
    assert steps["global_step"] == steps["max_steps"] > 0
    (logged,) = [entry for entry in steps["log_history"] if "reward" in entry]
    assert {f"rewards/{name}/mean" for name in REWARDS} < logged.keys()


def test_a_small_data_set_is_cut_out_of_coco(python_block, run_python, tmp_path):
    coco = coco_factory.content({number: [(1, [10, 20, 30, 40])] for number in range(1, 83)})
    written, images = coco_factory.write(tmp_path, coco)
    (tmp_path / "annotations").mkdir()
    os.rename(written, tmp_path / "annotations/instances_train2017.json")
    os.rename(images, tmp_path / "train2017")
    run_python(python_block("cut"))
    small = read_coco("small", tmp_path / "small/train.json", tmp_path / "small/images")  # each image must exist
    assert len(small.images) == 80


@contextmanager
def said_with_errors(place):
    try:
        yield
    except (Exception, SystemExit) as error:
        error.add_note(f"The block at {place}")
        raise


def test_no_block_is_left_out(blocks):
    """ELSEWHERE gives the reason for every unchecked command, and names no command that the pages don't have."""
    assert {block.language for block in blocks} <= {"python", "yaml", "json", "sh", "mermaid", "text"}
    python = [
        [name for name, words in PYTHON.items() if words in block.text]
        for block in blocks
        if block.language == "python"
    ]
    assert sorted(python) == sorted([name] for name in PYTHON)
    started = {words[0] for block in blocks if block.language == "sh" for words in block.commands}
    assert started == {*CHECKED, *ELSEWHERE}


def test_json_blocks_are_json(blocks):
    for block in blocks:
        if block.language == "json":
            json.loads(block.text)


def test_yaml_blocks_are_valid_configurations(root, blocks):
    schema = configuration.read_schema(root / "config")
    for block in blocks:
        if block.language == "yaml":
            with said_with_errors(block.place):
                configuration.check(merge(load(root, "miniature"), yaml.safe_load(block.text)), schema)


def test_make_knows_the_targets(root, commands):
    (phony,) = re.findall(r"^\.PHONY: (.+)", (root / "Makefile").read_text(), re.M)
    assert [(place, words) for place, words in commands("make") if words[0] not in phony.split()] == []


def test_programs_accept_the_flags(root, commands):
    for place, (file, *words) in commands("python"):
        assert (root / file).is_file(), place
        if words:
            with said_with_errors(place):
                importlib.import_module(Path(file).stem).parse_args(words)


def test_pip_finds_what_it_installs(root, commands):
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = [["install", "-r", path.name] for path in root.glob("requirements*.txt")]
    known += [["install", f"vision-r1[{extra}] @ git+$REPOSITORY"] for extra in extras]  # test_package.py runs this one
    assert [(place, words) for place, words in commands("pip") if words not in known] == []


@pytest.mark.slow
def test_snakemake_plans_the_targets(blocks, commands, project, monkeypatch):
    """Flags are read by Snakemake's own parser; commands of one configuration are planned together."""
    from snakemake.cli import parse_args

    monkeypatch.chdir(project.folder)  # Snakemake's parser reads profiles
    pages = dict.fromkeys(block.place for block in blocks)
    targets = defaultdict(set)
    for place, words in commands("snakemake"):
        with said_with_errors(place):
            args = parse_args(words)[1]
        if WRITTEN in map(str, args.configfile or ()):
            continue
        for file in args.configfile or ():
            if not file.is_file():  # the page shows it before
                before = blocks[list(pages).index(place) - 1]
                assert before.language == "yaml"
                file.write_text(before.text)
        given = {"--configfile": args.configfile, "--config": args.config, "--profile": args.profile}
        options = tuple(str(word) for flag, values in given.items() if values for word in (flag, *values))
        targets[options] |= set(args.targets or ["all"])
    for options, wanted in targets.items():
        project.snakemake("--dry-run", "--quiet", *options, "--", *sorted(wanted))
