"""Other names for patients and slides, so that a report can be shown to those who must not know the hospital's.

Chance decides who is P001, so the names tell neither site nor order of admission. Names are all that is hidden: ages,
sites and times stay as they are.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from histoweave.errors import InputError

Tables = Mapping[str, pd.DataFrame | None]
LETTERS = {"patient": "P", "slide": "S"}
_SENTENCES = ("reason", "context", "subject", "sentence")
_WORD = re.compile(r"(\b(?:patient|slide) '?)?([A-Za-z0-9](?:[\w.-]*\w)?)")
_NUMBER = re.compile(r"[\d._-]+")
_FILE = re.compile(r"[^\s'\"]*[/\\][^\s'\"]*\.[A-Za-z]\w*")
_LONG_NUMBER = 5


def assign(tables: Tables, rng: np.random.Generator) -> pd.DataFrame:
    """``kind, name, pseudonym`` of every patient and slide that a table or the ledger names; same seed, same names."""
    rows = []
    for kind, letter in LETTERS.items():
        names = sorted({name for frame in tables.values() if frame is not None for name in _names(frame, kind)})
        digits = max(3, len(str(len(names))))
        order = rng.permutation(len(names))
        rows += [(kind, names[place], f"{letter}{number:0{digits}}") for number, place in enumerate(order, start=1)]
    return pd.DataFrame(rows, columns=["kind", "name", "pseudonym"])


def _names(frame: pd.DataFrame, kind: str) -> Iterator[str]:
    if kind in frame:
        yield from frame[kind]
    if {"kind", "item"} <= set(frame):
        yield from frame.loc[frame["kind"] == kind, "item"]


@dataclass(frozen=True)
class Pseudonyms:
    """What to say in place of names; with no `names`, all stays as it is.

    names : kind -> name -> pseudonym
    """

    names: Mapping[str, Mapping[str, str]]

    def name(self, kind: str, name: str) -> str:
        """The pseudonym of a patient or slide; InputError if it has none."""
        if not self.names:
            return name
        if name not in self.names[kind]:
            msg = f"a {kind} of the tables has no pseudonym. Remove pseudonyms.parquet from the results and run again."
            raise InputError(msg)
        return self.names[kind][name]

    def tables(self, tables: Tables) -> dict[str, pd.DataFrame | None]:
        """The tables with pseudonyms for patients and slides, in the ledger's items and in sentences too."""
        if not self.names:
            return dict(tables)
        return {name: None if frame is None else self._table(frame) for name, frame in tables.items()}

    def _table(self, frame: pd.DataFrame) -> pd.DataFrame:
        changed = {
            kind: frame[kind].map(lambda name, kind=kind: self.name(kind, name)) for kind in LETTERS if kind in frame
        }
        if "slides" in frame:
            changed["slides"] = frame["slides"].map(lambda text: " ".join(self.name("slide", s) for s in text.split()))
        if {"kind", "item"} <= set(frame):
            pairs = zip(frame["kind"], frame["item"], strict=True)
            changed["item"] = [self.name(kind, item) if kind in LETTERS else item for kind, item in pairs]
        for column in {*_SENTENCES} & set(frame):
            said = {text: self.text(text) for text in frame[column].dropna().unique()}
            changed[column] = frame[column].map(said)
        return frame.assign(**changed)

    def text(self, sentence: str) -> str:
        """The sentence without names and without paths of files, which often hold them."""
        if not self.names:
            return sentence
        return _WORD.sub(lambda found: (found[1] or "") + self._word(found), _FILE.sub("(a file)", sentence))

    @cached_property
    def _all(self) -> dict[str, str]:
        return {name: new for names in self.names.values() for name, new in names.items()}

    def _word(self, found: re.Match) -> str:
        word, known = found[2], self._all
        if _NUMBER.fullmatch(
            word
        ):  # a number is a patient only where that is plain: "3 of 12 tiles" is not about patient 12
            plain = found[1] or len(word) >= _LONG_NUMBER
            return known.get(word, word) if plain else word
        return "".join(_replaced(re.split(r"([._-])", word), known))


def _replaced(parts: list[str], known: Mapping[str, str]) -> Iterator[str]:
    """Yield `parts` with the longest runs that are known names replaced: ``TCGA-AA-0001-01Z.svs`` holds a patient's."""
    begin = 0
    while begin < len(parts):
        ends = range(len(parts), begin, -1)
        end = next((end for end in ends if "".join(parts[begin:end]) in known), None)
        yield parts[begin] if end is None else known["".join(parts[begin:end])]
        begin = begin + 1 if end is None else end
