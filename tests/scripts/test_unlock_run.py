"""A folder is unlocked only if, as far as can be seen, no process is working in it."""

import socket
from types import SimpleNamespace

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
def ended():
    return SimpleNamespace(returncode=0)


@pytest.fixture
def locked(tmp_path, monkeypatch, ended):
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    monkeypatch.chdir(tmp_path)
    called = []
    monkeypatch.setattr(unlock_run.subprocess, "run", lambda words: called.append(words) or ended)
    return called


@pytest.mark.parametrize(
    "words", [("python", "workflow/scripts/train_grpo.py"), ("/usr/bin/python3", "-m", "snakemake")]
)
def test_a_job_with_an_unreadable_folder_counts_as_running(locked, monkeypatch, words):
    monkeypatch.setattr(psutil, "process_iter", lambda: [OfAnotherUser(*words)])
    with pytest.raises(UserError, match="still at work here, or may be \\(77 of somebody\\)"):
        unlock_run.main([])
    assert not locked


def test_processes_that_are_not_jobs_do_not_count(locked, monkeypatch):
    monkeypatch.setattr(psutil, "process_iter", lambda: [OfAnotherUser("python", "other.py")])
    unlock_run.main([])
    assert locked == [["snakemake", "--unlock", "--quiet"]]


def test_a_lock_that_snakemake_cannot_remove(locked, ended, monkeypatch):
    monkeypatch.setattr(psutil, "process_iter", list)
    ended.returncode = 1
    with pytest.raises(UserError, match="`snakemake --unlock` failed, as told above"):
        unlock_run.main([])


def test_a_run_on_another_machine_keeps_its_lock(locked, tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "process_iter", list)
    (tmp_path / ".snakemake/started_on").write_text("login2, process 7")
    with pytest.raises(UserError, match=r"a run on another machine \(login2, process 7\)"):
        unlock_run.main([])
    (tmp_path / ".snakemake/started_on").write_text(f"{socket.gethostname()}, process 7")
    unlock_run.main([])
    assert len(locked) == 1
