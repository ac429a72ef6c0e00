"""What a run does not have takes one sentence, not a section of "not written by this run"."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from histoweave.report.blocks import Picture, Section, Text

_SUBSTANCE = ("table", "picture")
_INPUTS = {"patients": "patients", "slides": "slides", "datasets": "single-cell or spatial datasets"}


def fold(sections: Sequence[Section]) -> tuple[list[Section], list[Section]]:
    """Sections that hold something, and those whose tables and figures are all missing.

    Of the first, what is missing is gathered in one sentence at the end. A section without anything missing stays as it
    is, also if it is text alone.
    """
    kept, empty = [], []
    for section in sections:
        gone = [block for block in section.blocks if _is_missing(block)]
        rest = [block for block in section.blocks if not _is_missing(block)]
        if gone and not any(block.kind in _SUBSTANCE for block in rest):
            empty.append(section)
        else:
            kept.append(replace(section, blocks=[*rest, *_told(gone)]))
    return kept, empty


def _is_missing(block: object) -> bool:
    return (isinstance(block, Text) and block.tone == "missing") or (isinstance(block, Picture) and not block.source)


def _told(gone: Sequence[Text | Picture]) -> list[Text]:
    """One sentence for all that is missing; a lone text says it itself."""
    if len(gone) == 1 and isinstance(gone[0], Text):
        return list(gone)
    told = "; ".join(dict.fromkeys(_one(block) for block in gone))
    return [Text(f"Not shown here: {told}.", "missing")] if gone else []


def _one(block: Text | Picture) -> str:
    if isinstance(block, Picture):
        return f"the figure '{block.title}' ({block.alt.removeprefix('Not drawn: ').rstrip('.')})"
    return block.text.removeprefix("Not available: ").rstrip(".")


def why_empty(inputs: Mapping) -> str:
    """Say what the run was not given, as the reason for empty sections, such as that it had no slides."""
    lacking = [words for name, words in _INPUTS.items() if not inputs.get(name)]
    if not lacking:
        return "The steps behind these sections were not part of this run."
    return f"This run was given no {' and no '.join(lacking)}."
