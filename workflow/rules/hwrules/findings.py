"""What a check found, and the table of it. Needs the standard library only, so that it works where much is broken."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NoReturn

OK, NOTE, WARN, FAIL = "ok", "note", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the table: `status` ok, note, warn (worth a look) or FAIL (a run would fail), of what, and why."""

    status: str
    check: str
    subject: str
    detail: str


def fails(findings: Sequence[Finding]) -> bool:
    """Whether a run would fail."""
    return any(finding.status == FAIL for finding in findings)


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as text in columns, with one closing line."""
    rows = [("status", "check", "subject", "detail")]
    rows += [(f.status, f.check, f.subject, " ".join(f.detail.split())) for f in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=True)), row[3]]) for row in rows]
    number = sum(finding.status == FAIL for finding in findings)
    warnings = sum(finding.status == WARN for finding in findings)
    verdict = f"{number} finding(s) would make a run fail" if number else "nothing found that would make a run fail"
    return "\n".join([*lines, f"{verdict}; {warnings} worth a look."])


def first_of(names: Sequence[object], *, most: int = 3) -> str:
    """First `most` of `names`, with the number left out."""
    shown = ", ".join(map(str, names[:most]))
    return shown if len(names) <= most else f"{shown} (+{len(names) - most} more)"


def refuse(error: Exception, *, targets: Collection[str]) -> NoReturn:
    """End Snakemake: one line and exit code 2, or for the target ``doctor`` its table and exit code 1."""
    if "doctor" in targets:
        print(table([Finding(FAIL, "config", "inputs", str(error))]))
        sys.exit(1)
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
