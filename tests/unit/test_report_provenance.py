import hashlib
import subprocess

import pytest

from vision_r1.report.provenance import commit, differences, flatten, of_images, read_jobs, rule_costs


def job(name, seconds, memory=None):
    return {"name": name, "seconds": seconds, "memory": memory}


def test_stages_sum_jobs_and_gpu_hours_are_time_times_gpus():
    jobs = [job("train/a", 3600.0, 100.0), job("train/b", 1800.0, 300.0), job("plot", 2.0), job("lost", None)]
    train, plot = rule_costs(jobs, {"train": 8, "plot": 0})
    assert (train.rule, train.jobs, train.seconds, train.longest, train.memory) == ("train", 2, 5400, 3600, 300)
    assert train.gpu_hours == pytest.approx(12.0)
    assert (plot.gpu_hours, plot.memory) == (0, None)
    assert rule_costs(jobs)[0].gpu_hours is None and rule_costs([]) == []


def test_memory_of_a_job_too_short_to_be_sampled_is_missing(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.tsv").write_text("s\tmax_rss\n0.4\t3.4\n24.5\t812.4\n9\t-\n")
    assert read_jobs(tmp_path, ()) == [job("train/a", 0.4), job("train/a", 24.5, 812.4), job("train/a", 9.0)]
    assert read_jobs(tmp_path / "nothing", ()) == []


def test_files_of_removed_rules_are_not_counted(tmp_path):
    for name in ("train_grpo", "train_grpo_stage1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.tsv").write_text("s\tmax_rss\n24.5\t812.4\n")
    assert [each["name"] for each in read_jobs(tmp_path, (), {"train_grpo": 1})] == ["train_grpo/a"]


def test_configurations_differ_where_values_do_or_a_key_is_missing():
    ours = {"sft": {"max_steps": 150, "bf16": False}, "data": {"train": ["scenes"]}, "run": "mine", "lora": None}
    theirs = {"sft": {"max_steps": -1, "bf16": False}, "data": {"train": ["coco", "refcoco"]}, "run": "paper"}
    assert differences(ours, theirs | {"grpo": {"beta": 0.04}}) == [
        ("sft.max_steps", "150", "-1"),
        ("data.train", "scenes", "coco, refcoco"),
        ("lora", "null", None),
        ("grpo.beta", None, "0.04"),
    ]
    assert differences(ours, ours) == []


def test_a_configuration_beside_the_code_is_no_local_change(tmp_path, monkeypatch):
    programs, settings = tmp_path / "project/workflow/scripts/vision_r1/report", tmp_path / "project/config"
    for folder in (programs, settings):
        folder.mkdir(parents=True)
        (folder / "ours").write_text("1")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "code"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr("vision_r1.report.provenance.__file__", str(programs / "ours"))
    (settings / "mine.yaml").write_text("run: mine")
    assert len(commit()) == 40
    for edited, after in ((settings / "ours", "1"), (programs / "ours", "1"), (programs / "new.py", None)):
        edited.write_text("2")
        assert commit().endswith(" (with local changes)")
        edited.write_text(after) if after else edited.unlink()


def test_the_commit_is_of_the_repository_that_the_code_belongs_to(tmp_path, monkeypatch, root):
    ours = tmp_path / "vendor/workflow/scripts/vision_r1/report/provenance.py"
    ours.parent.mkdir(parents=True)
    ours.touch()
    (tmp_path / ".gitignore").write_text("vendor")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "a user's own"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    before = commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))  # as in a hook of that repository
    assert commit() == before
    monkeypatch.setattr("vision_r1.report.provenance.__file__", str(ours))
    assert commit() is None


def test_names_that_share_only_a_prefix_are_compared():
    assert differences({"runs": 1, "seed": 2}, {"runs": 2, "seed": 3}) == [("runs", "1", "2")]


def test_images_have_one_checksum_per_data_set_whatever_their_order():
    index = [{"dataset": "one", "sha256": sha} for sha in ("b", "a")] + [{"dataset": "two", "sha256": "c"}]
    first, second = of_images(index)
    assert first["sha256"] == hashlib.sha256(b"a\nb").hexdigest() and first["files"] == 2
    assert first == of_images(index[::-1])[1] and second["name"] == "images of two"


def test_values_are_written_as_in_json():
    assert flatten({"a": {"b": None, "c": True}, "d": [1, "x"], "e": {}}) == [
        ("a.b", "null"),
        ("a.c", "true"),
        ("d", "1, x"),
        ("e", "{}"),
    ]


def test_jobs_that_the_report_does_not_wait_for_are_left_out(tmp_path):
    """They may or may not be finished when it is written, so the page would differ from run to run."""
    for name in ("train_sft", "release_checkpoint", "render_report"):
        (tmp_path / f"{name}.tsv").write_text("s\tmax_rss\n2.0\t100\n")
    assert [job["name"] for job in read_jobs(tmp_path, ())] == ["train_sft"]
