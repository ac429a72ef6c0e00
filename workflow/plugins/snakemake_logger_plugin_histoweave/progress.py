"""Counts of jobs per stage and an estimate of the time left, as text."""

from collections import Counter
from collections.abc import Mapping

_WIDTH = 24


class Progress:
    """How far a run is.

    stages : rule -> stage, in the order of the data flow; a rule of no stage counts under "other"
    Times are seconds of any clock that only moves forward.
    """

    def __init__(self, stages: Mapping[str, str]) -> None:
        self.stages = dict(stages)
        self.planned: Counter = Counter()
        self.done: Counter = Counter()
        self.failed: Counter = Counter()
        self.spent: Counter = Counter()
        self.running: dict[object, tuple[str, float]] = {}
        self.began = 0.0

    def plan(self, counts: Mapping[str, int], now: float) -> None:
        """Take the jobs per rule that the run will do."""
        self.planned = Counter({rule: count for rule, count in counts.items() if rule != "total"})
        self.began = now

    def start(self, job: object, rule: str, now: float) -> None:
        """A job of `rule` begins (again, if it is tried anew)."""
        self.running[job] = (rule, now)

    def finish(self, job: object, now: float) -> None:
        """A job ends well."""
        rule, since = self.running.pop(job, ("", now))
        if rule:
            self.done[rule] += 1
            self.spent[rule] += now - since

    def fail(self, job: object) -> str:
        """A job ends badly; returns its rule."""
        rule, _ = self.running.pop(job, ("", 0.0))
        self.failed[rule] += 1
        return rule

    def stage_counts(self) -> dict[str, tuple[int, int, int, int]]:
        """Stage -> jobs done, planned, running, failed; only stages with jobs, in the order of the data flow."""
        counts: dict[str, list[int]] = {}
        for stage in dict.fromkeys(self.stages.values()):
            counts[stage] = [0, 0, 0, 0]
        for rule, number in self.planned.items():
            row = counts.setdefault(self.stages.get(rule, "other"), [0, 0, 0, 0])
            row[1] += number
            row[0] += self.done[rule]
            row[2] += sum(name == rule for name, _ in self.running.values())
            row[3] += self.failed[rule]
        return {stage: tuple(row) for stage, row in counts.items() if row[1]}

    def seconds_left(self, now: float) -> float | None:
        """Estimate from each rule's mean time and how many jobs ran side by side; None before three jobs are done."""
        finished = self.done.total()
        if finished < 3:
            return None
        mean = self.spent.total() / finished
        work = 0.0
        for rule, number in self.planned.items():
            each = self.spent[rule] / self.done[rule] if self.done[rule] else mean
            work += each * max(0, number - self.done[rule])
        work -= sum(min(now - since, mean) for _, since in self.running.values())
        side_by_side = max(1.0, self.spent.total() / max(now - self.began, 1e-9))
        return max(0.0, work / side_by_side)

    def line(self, now: float) -> str:
        """The state in one plain line."""
        done, planned = self.done.total(), self.planned.total()
        share = 100 * done // max(planned, 1)
        parts = [f"{stage} {row[0]}/{row[1]}" for stage, row in self.stage_counts().items() if 0 < row[0] + row[2]]
        left = self.seconds_left(now)
        ahead = "" if left is None else f", about {duration(left)} left"
        return f"{done} of {planned} jobs ({share} %){ahead}: {', '.join(parts) or 'starting'}"

    def block(self, now: float) -> list[str]:
        """The state as one line per stage and one for all, for a terminal."""
        rows = self.stage_counts()
        longest = max((len(stage) for stage in rows), default=0)
        lines = []
        for stage, (done, planned, running, failed) in rows.items():
            full = _WIDTH * done // planned
            bar = "█" * full + "░" * (_WIDTH - full)
            notes = [f"{running} running"] * bool(running) + [f"{failed} FAILED"] * bool(failed)
            lines.append(f"{stage:<{longest}}  {bar} {done:>4}/{planned:<4} {', '.join(notes)}".rstrip())
        left = self.seconds_left(now)
        ahead = "" if left is None else f", about {duration(left)} left"
        took = duration(now - self.began)
        lines.append(f"{self.done.total()} of {self.planned.total()} jobs, {took} so far{ahead}")
        return lines


def duration(seconds: float) -> str:
    """``45 s``, ``3 min`` or ``2 h 05 min``."""
    seconds = round(seconds)
    if seconds < 100:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
