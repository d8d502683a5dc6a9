"""A folder is unlocked only where nothing is at work in it, as far as can be seen."""

import psutil
import pytest
import unlock_run

from vision_r1.files import UserError


class OfAnotherUser:
    pid = 77

    def __init__(self, *words):
        self.words = words

    def cmdline(self):
        return self.words

    def cwd(self):
        raise psutil.AccessDenied(self.pid)

    def username(self):
        return "somebody"


@pytest.fixture
def locked(tmp_path, monkeypatch):
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    monkeypatch.chdir(tmp_path)
    called = []
    monkeypatch.setattr(unlock_run.subprocess, "run", lambda words, **_: called.append(words))
    return called


@pytest.mark.parametrize(
    "words", [("python", "workflow/scripts/train_grpo.py"), ("/usr/bin/python3", "-m", "snakemake")]
)
def test_a_job_whose_folder_cant_be_seen_may_be_at_work(locked, monkeypatch, words):
    monkeypatch.setattr(psutil, "process_iter", lambda: [OfAnotherUser(*words)])
    with pytest.raises(UserError, match="still at work here, or may be \\(77 of somebody\\)"):
        unlock_run.main([])
    assert not locked


def test_what_is_no_job_is_nothing_to_wait_for(locked, monkeypatch):
    monkeypatch.setattr(psutil, "process_iter", lambda: [OfAnotherUser("python", "other.py")])
    unlock_run.main([])
    assert locked == [["snakemake", "--unlock", "--quiet"]]
