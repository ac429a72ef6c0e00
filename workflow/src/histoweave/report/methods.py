"""The Methods paragraph with the run's real settings and versions, and the references that it cites."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import jinja2
import pandas as pd

from histoweave.report.blocks import Code, Listing, Section, Text, table_of
from histoweave.report.run import Run

_ENTRY = re.compile(r"@(\w+)\{(\w+),\n(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},?$", re.MULTILINE)


@dataclass
class Citations:
    """Numbers the references in the order in which they are first cited."""

    known: Mapping[str, str]
    used: list[str] = field(default_factory=list)

    def cite(self, *keys: str) -> str:
        """``[1, 4]`` for `keys`; KeyError for a reference that the BibTeX file does not hold."""
        for key in keys:
            self.known[key]
            if key not in self.used:
                self.used.append(key)
        return "[" + ", ".join(str(self.used.index(key) + 1) for key in keys) + "]"


def entries_of(bibtex: str) -> dict[str, str]:
    """Key -> whole entry of a BibTeX text whose entries close with a brace of their own line."""
    return {match[2]: match[0] for match in _ENTRY.finditer(bibtex)}


def reference_text(entry: str) -> str:
    """One line of a reference list for a BibTeX `entry`."""
    told = {name.lower(): text.replace("{", "").replace("}", "") for name, text in _FIELD.findall(entry)}
    where = told.get("journal") or told.get("booktitle") or ""
    volume = f" {told['volume']}" if "volume" in told else ""
    link = f" doi:{told['doi']}" if "doi" in told else f" arXiv:{told['eprint']}" if "eprint" in told else ""
    return f"{told['author'].rstrip('.')}. {told['title']}. {where}{volume} ({told['year']}).{link}"


def methods_section(run: Run) -> Section:
    """Methods paragraph, references and their BibTeX entries, software versions."""
    if "methods" not in run.texts:
        return Section("methods", "Methods", [Text("Not available: no text for the Methods was given.", "missing")])
    text, used = _written(run)
    paragraphs = [Text(" ".join(part.split())) for part in re.split(r"\n\s*\n", text) if part.strip()]
    listed = Listing([reference_text(entry) for entry in used.values()])
    note = Text("For your manuscript; the numbers are the settings of this run.")
    blocks = [note, *paragraphs, listed, Code("BibTeX entries", _joined(used)), _versions(dict(run.texts["versions"]))]
    return Section("methods", "Methods", blocks)


def bibtex_of(run: Run) -> str:
    """BibTeX entries of what the Methods paragraph of `run` cites, sorted by key."""
    return _joined(_written(run)[1]) + "\n"


def _joined(entries: Mapping[str, str]) -> str:
    return "\n\n".join(entries[key] for key in sorted(entries))


def _written(run: Run) -> tuple[str, dict[str, str]]:
    """Text of the Methods, and the entries that it cites in the order of citation."""
    entries = entries_of(str(run.texts["references"]))
    citations = Citations(entries)
    methods = {spec["method"] for spec in run.config["survival"]["models"].values()}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701, plain text that the page escapes
    text = environment.from_string(str(run.texts["methods"])).render(
        config=run.config, cite=citations.cite, counts=_counts(run), uses=lambda *names: bool(methods & set(names))
    )
    return text, {key: entries[key] for key in citations.used}


def _counts(run: Run) -> dict[str, int]:
    folds = run.tables.get("folds")
    roles = list(run.config["inputs"]["cohorts"].values())
    return {
        "external": roles.count("external") + len(run.config["evaluation"]["cohorts"]),
        "repeats": 0 if folds is None else folds["repeat"].nunique(),
        "folds": 0 if folds is None else folds["fold"].nunique(),
        "datasets": 0 if run.tables.get("datasets") is None else len(run.table("datasets")),
    }


def _versions(versions: Mapping[str, str]) -> object:
    rows = pd.DataFrame(sorted(versions.items()), columns=["package", "version"])
    caption = "Software, as pinned in the environments of the stages"
    return table_of(rows, {"package": "package", "version": "version"}, name="versions", caption=caption)
