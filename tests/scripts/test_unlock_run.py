"""A folder is unlocked only where nothing is at work in it, as far as can be seen."""

import socket

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


def test_a_run_of_another_machine_cant_be_seen(locked, tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "process_iter", list)
    (tmp_path / ".snakemake/started_on").write_text("login2, process 7")
    with pytest.raises(UserError, match=r"a run on another machine \(login2, process 7\)"):
        unlock_run.main([])
    (tmp_path / ".snakemake/started_on").write_text(f"{socket.gethostname()}, process 7")
    unlock_run.main([])
    assert len(locked) == 1
