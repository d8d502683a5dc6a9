"""`PYTHONPATH=workflow/scripts snakemake ... --logger live`: what Snakemake prints, and below it how far the run is.

Snakemake finds the plugin by that path, which `make demo` sets; plain `snakemake` knows nothing of it. On a terminal
the live line is drawn afresh each second; in a pipe or file it is printed once a minute.
"""

import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from snakemake.logging import ColorizingTextHandler, get_event
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from snakemake_logger_plugin_live.run import Job, Run, in_words
from vision_r1.files import UserError, read_json

REDRAW, REPEAT = 1, 60  # seconds between two lines on a terminal, and elsewhere
TO_LINE_START = "\r\x1b[K"  # and erase the line


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    typical: Path | None = field(
        default=None, metadata={"help": "Durations of an earlier run, as benchmarks/demo.py writes them.", "type": Path}
    )


class LogHandler(LogHandlerBase, ColorizingTextHandler):
    """Snakemake's own handler for the terminal, and the live line."""

    writes_to_stream = True
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def __post_init__(self) -> None:
        ColorizingTextHandler.__init__(
            self, self.common_settings.nocolor, sys.stdout if self.common_settings.stdout else sys.stderr
        )
        try:
            table = read_json(self.settings.typical) if self.settings.typical else {"machine": "", "seconds": {}}
        except UserError as error:
            sys.exit(f"error: {error}")
        self.machine, self.run = table["machine"], Run(time.time(), table["seconds"])
        self.redrawn = self.can_color_tty()
        self.closed = threading.Event()
        if not self.common_settings.dryrun:
            threading.Thread(target=self._draw_again_and_again, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Print what Snakemake says in place of the live line, which comes back below it."""
        self._erase()
        ColorizingTextHandler.emit(self, record)
        self._note(record)

    def close(self) -> None:
        with self.lock:
            if not self.closed.is_set():
                self._erase()
            self.closed.set()
        super().close()

    def _note(self, record: logging.LogRecord) -> None:
        match get_event(record):
            case LogEvent.RUN_INFO:
                self.run.plan(record.stats, record.created)
                if self.run.expected:
                    words = f"{in_words(self.run.expected)}, as on {self.machine}"
                    self.stream.write(f"Expect {words}; the time left below adapts to this machine.\n")
            case LogEvent.JOB_INFO:
                name = " ".join([record.rule_name, *record.wildcards.values()])
                self.run.jobs[record.jobid] = Job(record.rule_name, name, next(iter(record.log), None), record.created)
            case LogEvent.JOB_FINISHED:
                self.run.finish(record.job_id)
            case LogEvent.JOB_ERROR:
                self.run.jobs.pop(record.jobid, None)
            case LogEvent.PROGRESS:
                self.run.done, self.run.total = record.done, record.total

    def _draw_again_and_again(self) -> None:
        while not self.closed.wait(REDRAW if self.redrawn else REPEAT):
            with self.lock:
                if not self.closed.is_set():
                    self._draw()

    def _draw(self) -> None:
        line = self.run.line(time.time())
        if self.redrawn:
            width = os.get_terminal_size(self.stream.fileno()).columns or 80
            self.stream.write(TO_LINE_START + line[: width - 1])
        else:
            self.stream.write(line + "\n")
        self.flush()

    def _erase(self) -> None:
        if self.redrawn:
            self.stream.write(TO_LINE_START)
