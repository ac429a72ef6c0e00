"""Text files that users write: tables of words, matrices of numbers, gene sets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten

MISSING = ("", "NA")


def read_columns(
    path: str | Path, columns: Sequence[str], *, key: str, missing: Sequence[str] | None = MISSING
) -> pd.DataFrame:
    """TSV of text with at least `columns`; raises InputError naming the config `key`.

    missing : what an empty cell may hold; None for all that pandas takes for missing
    """
    try:
        frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=missing is None, na_values=missing)
    except (OSError, ValueError) as error:
        msg = f"{key}: {path} is not a readable TSV ({str(error).splitlines()[0]})."
        raise InputError(msg) from error
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        found = shorten(list(frame.columns))
        msg = f"{key}: {path} lacks {len(lacking)} column(s): {shorten(lacking)} (found: {found}). Is it tab-separated?"
        raise InputError(msg)
    return frame


def numbers(column: pd.Series, *, path: str | Path, whole: bool = False) -> pd.Series:
    """Numbers of a column of text, named as it is in the file; NaN where empty. `whole`: integers, none of them empty.

    Raises InputError with the line of the first cell that is something else.
    """
    values = pd.to_numeric(column, errors="coerce")
    bad = values.isna() | (values % 1 != 0) if whole else values.isna() & column.notna()
    if bad.any():
        line, found = int(np.flatnonzero(bad)[0]) + 2, column[bad].iloc[0]
        cell = "an empty cell" if pd.isna(found) else f"'{found}'"
        remedy = "is not a whole number. Correct it." if whole else "is not a number. Correct it or leave it empty."
        msg = f"{path}, line {line}, column '{column.name}': {cell} {remedy}"
        raise InputError(msg)
    return values.astype(int if whole else float)


def read_matrix(path: str | Path) -> pd.DataFrame:
    """TSV of a matrix: row names as written in the first column, column names as written in the first line.

    The first line may leave out the name of the first column, as R writes it. Raises OSError and ValueError.
    """
    names = pd.read_csv(path, sep="\t", header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
    frame = pd.read_csv(path, sep="\t", header=None, skiprows=1, index_col=0, dtype={0: str})
    more = len(names) - frame.shape[1]
    if more not in (0, 1):
        msg = f"its first line has {len(names)} names, the next {frame.shape[1] + 1} cells"
        raise ValueError(msg)
    frame.columns = pd.Index(names[more:], dtype=object)
    return frame.rename_axis((names[0] or None) if more else None)


def read_gmt(path: str | Path, *, key: str) -> dict[str, list[str]]:
    """Gene sets of a GMT file: name, description and genes per line, separated by tabs; lines after # are comments.

    Raises InputError naming the config `key`, or the wrong line.
    """
    sets: dict[str, list[str]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{key}: {path} cannot be read ({error})."
        raise InputError(msg) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = line.split("\t")
        genes = sorted({gene.strip() for gene in rest[1:]} - {""})
        if not genes or name in sets:
            why = f"gene set '{name}' stands there twice" if name in sets else "name, description and genes are needed"
            msg = f"{path}, line {number}: {why}, separated by tabs. Correct the GMT file."
            raise InputError(msg)
        sets[name] = genes
    if not sets:
        msg = f"{key}: {path} holds no gene set."
        raise InputError(msg)
    return sets
