"""One live view of a run on a terminal, plain lines elsewhere: ``snakemake --logger histoweave``.

Snakemake finds the plugin by its name when this folder's parent is on the PYTHONPATH. Warnings, errors and the logs
of failed jobs are printed in full above the view; everything else is in Snakemake's own log file.
"""

import logging
import re
import sys
import threading
import time
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_histoweave.progress import Progress, duration

RULES = Path(__file__).resolve().parents[2] / "rules"
ORDER = ("simulate", "slides", "expression", "genegraph", "survival", "evaluation", "report")
_EVERY_S = 10.0


def stages_of_rules(folder: Path) -> dict[str, str]:
    """Rule -> stage, as the rule files say; the stages in the order of the data flow."""
    found = {}
    for stage in ORDER:
        for path in folder.rglob(f"{stage}.smk"):
            text = path.read_text(encoding="utf-8")
            found |= dict.fromkeys(re.findall(r"(?m)^\s*(?:rule|checkpoint) (\w+):", text), stage)
    return found


class LogHandler(LogHandlerBase):
    """Prints how far each stage is."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Start with nothing planned and nothing on the screen."""
        self.stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.live = self.stream.isatty()
        self.progress = Progress(stages_of_rules(RULES))
        self.shown = 0
        self.last = 0.0
        self.over = threading.Event()
        if self.live:
            threading.Thread(target=self._tick, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of Snakemake's log."""
        event, now = getattr(record, "event", None), time.monotonic()
        if event == LogEvent.RUN_INFO:
            self.progress.plan(record.stats, now)
        elif event == LogEvent.JOB_INFO:
            self.progress.start(record.jobid, record.rule_name, now)
        elif event == LogEvent.JOB_FINISHED:
            self.progress.finish(record.job_id, now)
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            self.progress.fail(getattr(record, "jobid", None))
        if record.levelno >= logging.WARNING or event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR, LogEvent.ERROR):
            self._print(self.format(record))
        elif self.common_settings.dryrun or (event is None and not self.progress.planned):
            # what Snakemake says before it starts, and a dry run's list of jobs
            text = self.format(record)
            if text and text != "None":
                self._print(text)
        if self.progress.planned and not self.common_settings.dryrun:
            self._show(now, always=event == LogEvent.RUN_INFO)

    def _tick(self) -> None:
        """Redraw each second, so that the clock moves while long jobs run."""
        while not self.over.wait(1.0):
            with self.lock:
                if self.progress.planned and not self.common_settings.dryrun and not self.over.is_set():
                    self._redraw(self.progress.block(time.monotonic()))

    def _show(self, now: float, *, always: bool) -> None:
        if self.live:
            self._redraw(self.progress.block(now))
        elif always or now - self.last >= _EVERY_S:
            self.last = now
            self.stream.write(f"{time.strftime('%H:%M:%S')} {self.progress.line(now)}\n")
            self.stream.flush()

    def _redraw(self, lines: list[str]) -> None:
        up = f"\x1b[{self.shown}A" if self.shown else ""
        self.stream.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
        self.stream.flush()
        self.shown = len(lines)

    def _print(self, text: str) -> None:
        """Print `text` above the view."""
        if self.live and self.shown:
            self.stream.write(f"\x1b[{self.shown}A\x1b[0J")
            self.shown = 0
        self.stream.write(f"{text.rstrip()}\n")
        self.stream.flush()

    def close(self) -> None:
        """Say how it ended."""
        self.over.set()
        progress = self.progress
        if progress.planned and not self.common_settings.dryrun:
            done, planned, failed = progress.done.total(), progress.planned.total(), progress.failed.total()
            faults = f", {failed} failed" if failed else ""
            took = duration(time.monotonic() - progress.began)
            self.shown = 0  # the last view stays
            self._print(f"{done} of {planned} jobs done{faults}, {took}")
            progress.planned.clear()
        super().close()
