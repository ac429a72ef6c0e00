"""The user's tables: read, typed by their schema, and refused with file, line and row where they are wrong."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from hwrules.config import BadInput, read_yaml

_TYPES = {"number": float, "integer": int, "string": str}


def read_table(path: str | Path, schema_path: Path) -> dict[str, dict]:
    """Read a TSV whose columns `schema_path` describes; returns key column -> row.

    Raises BadInput for a missing file or column, a duplicate key (also when only case
    differs), and a value of the wrong form, with the line's number.
    """
    path, schema = Path(path), read_yaml(schema_path)
    if not path.is_file():
        raise BadInput(f"{path} does not exist. Set inputs.{schema['title']} in the config to your table.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter="\t")
        missing = [name for name in schema["required"] if name not in (reader.fieldnames or [])]
        if missing:
            found = ", ".join(reader.fieldnames or []) or "none"
            raise BadInput(f"{path}: column '{missing[0]}' is missing (columns found: {found}). Is it tab-separated?")
        rows = [(reader.line_num, row) for row in reader if any(row.values())]
    return _keyed(path, schema, rows)


def _keyed(path: Path, schema: dict, rows: list[tuple[int, dict]]) -> dict[str, dict]:
    key, keyed, seen = schema["title_column"], {}, {}
    for line, row in rows:
        typed = {name: _value(path, line, name, text, schema) for name, text in row.items() if name is not None}
        name = typed[key]
        if name.lower() in seen:
            raise BadInput(
                f"{path}, line {line}: {key} '{name}' stands already in line {seen[name.lower()]}"
                " (upper and lower case count as equal). Keep one row or rename one."
            )
        seen[name.lower()] = line
        keyed[name] = typed | {"_line": line}
    return keyed


def _value(path: Path, line: int, name: str, text: str | None, schema: dict) -> str | float | None:
    part = _column(name, schema)
    where = f"{path}, line {line}, column '{name}'"
    text = (text or "").strip()
    if text in ("", "NA", "NaN", "nan"):
        if name in schema["filled"]:
            raise BadInput(f"{where}: is empty. Fill it in, or remove the row.")
        return None
    try:
        value = _TYPES[part["type"]](text)
    except ValueError:
        raise BadInput(f"{where}: '{text}' is not a {part['type']}.") from None
    if "pattern" in part and not re.fullmatch(part["pattern"], value):
        raise BadInput(f"{where}: '{text}' is not allowed. {part['description']}")
    if "enum" in part and value not in part["enum"]:
        raise BadInput(f"{where}: '{text}' is not one of {', '.join(map(str, part['enum']))}.")
    low, above = part.get("minimum"), part.get("exclusiveMinimum")
    if (low is not None and value < low) or (above is not None and value <= above) or value != value:
        raise BadInput(f"{where}: {text} is out of range. {part['description']}")
    return value


def _column(name: str, schema: dict) -> dict:
    for pattern, part in schema.get("patternProperties", {}).items():
        if re.search(pattern, name):
            return part
    return schema["properties"].get(name, {"type": "string"})


def check_endpoint(path: str, patients: dict[str, dict], endpoint: str | None) -> None:
    """Raise BadInput unless the follow-up columns of `endpoint` are there and each event has a time."""
    time, event = ("time_days", "event") if endpoint is None else (f"{endpoint}_days", f"{endpoint}_event")
    for name, row in patients.items():
        for column in (time, event):
            if column not in row:
                raise BadInput(f"{path}: column '{column}' is missing; inputs.endpoint asks for it.")
        if row[time] is None and row[event] is not None:
            raise BadInput(
                f"{path}, line {row['_line']}: patient '{name}' has {event}={row[event]} but no {time}."
                " Fill it in, or empty both."
            )


def check_cohorts(path: str, patients: dict[str, dict], cohorts: dict[str, str]) -> None:
    """Raise BadInput unless each patient belongs to one of `cohorts` (name -> role) and each cohort has patients."""
    if not cohorts:
        return
    known = ", ".join(cohorts)
    for name, row in patients.items():
        if row.get("cohort") not in cohorts:
            raise BadInput(
                f"{path}, line {row['_line']}: patient '{name}' has the cohort '{row.get('cohort') or ''}', which"
                f" inputs.cohorts does not name ({known}). Correct the row, or add the cohort with its role."
            )
    empty = sorted(set(cohorts) - {row["cohort"] for row in patients.values()})
    if empty:
        raise BadInput(f"{path}: no patient has the cohort '{empty[0]}' of inputs.cohorts. Correct one of the two.")
    if "train" not in cohorts.values():
        raise BadInput(f"inputs.cohorts gives no cohort the role train ({known}); nothing could be learned.")


def check_files(
    path: str, rows: dict[str, dict], columns: Iterable[str], *, made_in: str | None, allow_links: bool
) -> None:
    """Raise BadInput for the first row whose file does not exist, or is a link out of its folder that is not allowed.

    Files under `made_in` are made by the run.
    """
    columns = list(columns)
    for name, row in rows.items():
        given = [row[column] for column in columns if row.get(column)]
        if not given:
            raise BadInput(f"{path}, line {row['_line']}: '{name}' gives no file; fill in {' or '.join(columns)}.")
        for file in given:
            if not (made_in and Path(file).is_relative_to(made_in)) and not Path(file).exists():
                raise BadInput(
                    f"{path}, line {row['_line']}: '{name}': the file {file} does not exist. Correct the path."
                )
            if not allow_links and (target := outside(Path(file))):
                raise BadInput(
                    f"{path}, line {row['_line']}: '{name}': {file} is a link to {target}, outside its folder."
                    " Set inputs.allow_links to true if that is meant, or give the file itself."
                )


def outside(path: Path) -> Path | None:
    """Where a link that leaves its own folder leads; None for a file and for a link within the folder."""
    if not path.is_symlink():
        return None
    target = path.resolve()
    return None if target.is_relative_to(path.parent.resolve()) else target
