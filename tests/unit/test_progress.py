"""Progress in a program's log, read back for the live line of `snakemake --logger live`."""

import logging
import os
from itertools import pairwise

import pytest
from snakemake_interface_logger_plugins.settings import OutputSettingsLoggerInterface
from snakemake_interface_logger_plugins.tests import TestLogHandlerBase as AnyLogHandler
from snakemake_logger_plugin_live import LogHandler, LogHandlerSettings
from snakemake_logger_plugin_live.run import Job, Run

from vision_r1 import progress as module
from vision_r1.progress import Progress, last_progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    monkeypatch.setattr(module, "time", Clock())
    return module.time


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def test_the_first_line_comes_after_five_seconds_and_later_ones_less_and_less_often(clock, log):
    progress = Progress(100_000, "steps")
    for second in range(1, 1001):
        clock.now = 100 + second
        progress.update(2 * second, "loss 0.5")
    assert log.messages[0] == "progress 10/100000 steps  loss 0.5  2 steps/s  left 13:53:15"
    seconds = [int(line.split()[1].partition("/")[0]) // 2 for line in log.messages]
    assert seconds[:100] == list(range(5, 501, 5))
    assert [after - before for before, after in pairwise(seconds[-3:])] == [10, 10]


def test_speed_excludes_what_was_done_before(clock, log):
    progress = Progress(1000, "steps", done=900)
    clock.now += 10
    progress.update(900)  # too early for another line
    progress.log(910)
    assert log.messages == ["progress 910/1000 steps  1 steps/s  left 0:01:30"]


def test_an_unknown_end(clock, log):
    progress = Progress(None, "MB")
    clock.now += 10
    progress.update(20)
    assert log.messages == ["progress 20/? MB  2 MB/s  left unknown"]
    assert last_progress(f"12:00:00 rank 0 INFO {log.messages[0]}\n") is None


def test_the_last_line_of_progress_is_read_back(clock, log):
    progress = Progress(2600, "steps")
    for done in (50, 650):
        clock.now += 50
        progress.log(done, "loss 0.4  kl 0.1")
    lines = ["of 3/4 images", *log.messages, "warning: 1/2"]
    assert last_progress("".join(f"12:00:00 rank 0 INFO {line}\n" for line in lines)) == (0.25, 300)
    assert last_progress("12:00:00 rank 0 INFO 3 of 4 images\n") is None
    progress.log(0)
    assert last_progress(f"12:00:00 rank 0 INFO {log.messages[-1]}\n") is None  # no speed yet


def test_a_day_is_left(clock, log):
    progress = Progress(100, "steps")
    clock.now += 1800
    progress.log(1)
    assert log.messages[0].endswith("  left 2 days, 1:30:00")
    assert last_progress(f"12:00:00 rank 0 INFO {log.messages[0]}\n") == (0.01, pytest.approx(99 * 1800, rel=0.01))


def running(folder, rule, text="", began=1000.0, written=1001.0):
    """Return a job whose log was last written at a certain time."""
    log = folder / f"{rule}.log"
    log.write_text(text)
    os.utime(log, (written, written))
    return Job(rule, f"{rule} strict", str(log), began)


LINE = "12:00:00 rank 0 INFO progress 25/100 steps  0.5 steps/s  left 0:02:30\n"


def test_the_live_line_names_the_running_jobs(tmp_path):
    run = Run(began=990.0)
    assert run.line(993) == "planning, 0:00:03"
    run.plan({"train": 2, "score": 2, "total": 4}, 1000.0)
    run.jobs |= {7: running(tmp_path, "train", LINE), 8: Job("score", "score strict", None, 1010.0)}
    assert run.line(1065) == "0 of 4 jobs done | train strict 25%, 0:02:30 left | score strict 0:00:55"
    run.finish(7)
    run.done = 1
    assert run.line(1066) == "1 of 4 jobs done | score strict 0:00:56"


def test_the_log_of_an_earlier_attempt_is_ignored(tmp_path):
    assert running(tmp_path, "train", LINE, written=999.0).progress() is None
    assert running(tmp_path, "train", LINE + 400 * "a warning of 25 characters\n").progress() is None
    assert running(tmp_path, "train", 400 * "a warning of 25 characters\n" + LINE).progress() == (0.25, 150)
    assert Job("train", "train strict", str(tmp_path / "none.log"), 0.0).progress() is None


def test_the_time_left_adapts_to_the_machine(tmp_path):
    run = Run(990.0, {"train": 400.0, "score": 100.0})
    run.plan({"train": 2, "score": 2, "all": 1, "total": 5}, 1000.0)
    assert run.expected == 1000
    assert run.line(1000) == "about 17 min left | 0 of 5 jobs done"
    run.jobs[7] = running(tmp_path, "train", LINE)
    assert run.line(1100).startswith("about 15 min left")  # a quarter of the 400 s has taken 100 s
    assert run.line(2100).startswith("about 130 min left")  # it has taken 1100 s: about 9 times as long
    slow = LINE.replace("0.5 steps/s  left 0:02:30", "0.0025 steps/s  left 8:20:00")
    run.jobs[7] = running(tmp_path, "train", slow)
    assert run.line(2100).startswith("about 500 min left")  # at least as long as any of its jobs
    run.jobs[8] = Job("score", "score strict", None, 1000.0)
    run.finish(7)
    run.finish(8)
    assert run.line(1500).startswith("about 8 min left")
    for number, rule in enumerate(["train", "score"]):
        run.jobs[number] = Job(rule, rule, None, 1500.0)
        run.finish(number)
    assert run.line(2000).startswith("about a minute left")


class TestLogHandler(AnyLogHandler):
    """Snakemake's tests for logger plugins."""

    __test__ = True

    def get_log_handler_cls(self):
        return LogHandler

    def get_log_handler_settings(self):
        return LogHandlerSettings()


def test_a_pipe_gets_a_whole_line_now_and_then(monkeypatch, capsys):
    class Settings(OutputSettingsLoggerInterface):
        nocolor = dryrun = stdout = False

    monkeypatch.setattr("snakemake_logger_plugin_live.REPEAT", 0.01)
    handler = LogHandler(Settings(), LogHandlerSettings())
    seen = ""
    while seen.count("\n") < 2:
        seen += capsys.readouterr().err
    handler.close()
    assert set(seen.splitlines()) == {"planning, 0:00:00"}
