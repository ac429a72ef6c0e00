"""What the report knows of a run: its tables, its config and its pictures."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from histoweave.report.blocks import Picture, Text


@dataclass(frozen=True)
class Run:
    """One run of the workflow.

    tables : name -> table; the index counts the rows of the file; None for a table that the run did not write
    files : name -> path of that table below the results folder
    config : the whole config; pictures : name -> figure; records : file -> who made it, with which settings
    texts : captions, references and checklists, as the report folder holds them
    """

    tables: Mapping[str, pd.DataFrame | None]
    files: Mapping[str, str]
    config: Mapping
    pictures: Mapping[str, Picture]
    records: Mapping[str, Mapping]
    texts: Mapping[str, object]

    def has(self, name: str) -> bool:
        """Whether the table `name` was written and has rows."""
        table = self.tables.get(name)
        return table is not None and len(table) > 0

    def table(self, name: str) -> pd.DataFrame:
        """The table `name`; KeyError if the run did not write it."""
        table = self.tables.get(name)
        if table is None:
            raise KeyError(name)
        return table

    def absent(self, name: str) -> Text:
        """Say that the table `name` is not there or is empty."""
        state = "has no rows" if self.tables.get(name) is not None else "was not written by this run"
        return Text(f"Not available: {self.files.get(name, name)} {state}.", "missing")

    def named(self, prefix: str) -> list[Picture]:
        """Pictures whose name is `prefix` or begins with it and a double underscore."""
        return [picture for name, picture in self.pictures.items() if name.split("__")[0] == prefix]
