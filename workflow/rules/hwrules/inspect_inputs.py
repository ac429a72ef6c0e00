"""Checks of what the user gave: tables against each other, files by their first bytes, a sample of them in depth."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hwrules.findings import FAIL, NOTE, OK, WARN, Finding, first_of

SLIDE_STARTS = {".tif": (b"II", b"MM"), ".tiff": (b"II", b"MM"), ".svs": (b"II", b"MM"), ".ndpi": (b"II", b"MM")}
HDF5_START = b"\x89HDF\r\n\x1a\n"
FEW_EVENTS = 30  # in an outer training part; fewer is refused there

Rows = Mapping[str, Mapping]


def check_links(slides: Rows, patients: Rows) -> Iterator[Finding]:
    """Slides and patients that do not find each other."""
    yield Finding(OK, "tables", "rows", f"{len(slides)} slides, {len(patients)} patients")
    strangers = sorted({row["patient"] for row in slides.values()} - set(patients))
    if slides and patients and strangers:
        status = FAIL if len(strangers) == len({row["patient"] for row in slides.values()}) else WARN
        yield Finding(status, "tables", "slides", f"{len(strangers)} patients have no row: {first_of(strangers)}")
    seen = {row["patient"] for row in slides.values()}
    bare = [name for name in patients if name not in seen]
    if slides and bare:
        yield Finding(NOTE, "tables", "patients", f"{len(bare)} have no slide: {first_of(bare)}")


def check_events(patients: Rows, *, endpoint: str | None) -> Iterator[Finding]:
    """Enough events to fit a model."""
    column = "event" if endpoint is None else f"{endpoint}_event"
    if not patients:
        return
    number = sum(row.get(column) == 1 for row in patients.values())
    status = OK if number * 0.8 >= FEW_EVENTS else FAIL if number < FEW_EVENTS else WARN
    yield Finding(status, "tables", "events", f"{number} of {len(patients)} patients have the event ({column})")


def check_paths(rows: Rows, columns: Sequence[str], *, table: str, made_in: str | None) -> Iterator[Finding]:
    """Every file exists, can be read, and starts as its kind does."""
    given = [(name, Path(row[column])) for name, row in rows.items() for column in columns if row.get(column)]
    to_make = [path for _, path in given if made_in and path.is_relative_to(made_in) and not path.exists()]
    given = [(name, path) for name, path in given if path not in set(to_make)]
    bad = [f"{name} ({problem})" for name, path in given if (problem := file_problem(path))]
    if bad:
        yield Finding(FAIL, "files", table, f"{len(bad)} of {len(given)} cannot be used: {first_of(bad)}")
    elif given:
        yield Finding(OK, "files", table, f"{len(given)} exist and look like their kind")
    if to_make:
        yield Finding(NOTE, "files", table, f"{len(to_make)} files are still to be simulated")


def file_problem(path: Path) -> str:
    """What is wrong with the file at first sight, '' for nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not start:
        return f"{path}: empty file"
    if path.suffix.lower() == ".h5ad" and start != HDF5_START:
        return f"{path}: not an HDF5 file"
    expected = SLIDE_STARTS.get(path.suffix.lower())
    return f"{path}: not a TIFF file" if expected and start[:2] not in expected else ""


def sample(rows: Rows, column: str, *, most: int) -> list[tuple[str, Path]]:
    """At most `most` existing files, spread evenly over the table."""
    paths = [(name, Path(row[column])) for name, row in rows.items() if row.get(column) and Path(row[column]).is_file()]
    step = max(1, len(paths) // most)
    return paths[::step][:most]


def check_slides(slides: Rows, *, most: int) -> Iterator[Finding]:
    """Open a sample of slides: size, levels, resolution."""
    chosen = sample(slides, "path", most=most)
    try:
        openslide = importlib.import_module("openslide")
    except ImportError as error:
        if chosen:
            yield Finding(WARN, "slides", "sample", f"not looked into: {error}")
        return
    broken, no_mpp = [], []
    for name, path in chosen:
        try:
            with openslide.OpenSlide(path) as slide:
                known = slides[name].get("mpp") or slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
        except openslide.OpenSlideError as error:
            broken.append(f"{name} ({error})")
            continue
        if not known or not 0.05 <= float(known) <= 4:
            no_mpp.append(name)
    if chosen:
        yield Finding(OK, "slides", "sample", f"{len(chosen) - len(broken)} of {len(chosen)} opened")
    if broken:
        yield Finding(WARN, "slides", "sample", f"{len(broken)} do not open and will be left out: {first_of(broken)}")
    if no_mpp:
        detail = f"{len(no_mpp)} give no usable um per pixel; fill in mpp in the slides table: {first_of(no_mpp)}"
        yield Finding(WARN, "slides", "sample", detail)


def check_datasets(datasets: Rows) -> Iterator[Finding]:
    """Each dataset holds raw counts, and what its kind needs."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        if datasets:
            yield Finding(WARN, "datasets", "all", f"not looked into: {error}")
        return
    for name, row in datasets.items():
        path = Path(row["path"])
        if not path.is_file():
            continue
        try:
            with h5py.File(path) as file:
                problem = dataset_problem(file, row)
        except OSError as error:
            problem = str(error)
        yield Finding(FAIL if problem else OK, "datasets", name, problem or "raw counts, and what its kind needs")


def dataset_problem(file: Mapping, row: Mapping) -> str:
    """What a stage would refuse in an open h5ad `file`, '' for nothing."""
    matrix = file.get("X")
    if matrix is None:
        return "has no X"
    values = matrix["data"] if hasattr(matrix, "keys") else matrix
    block = values[:100_000] if hasattr(matrix, "keys") else values[:200]
    if block.size and (block.min() < 0 or (block != block.round()).any()):
        return "X holds no raw counts: negative or broken numbers"
    if row["modality"] == "spatial" and "spatial" not in file.get("obsm", {}):
        return "is spatial but has no obsm['spatial']"
    column = row.get("cell_type_column")
    if column and column not in file.get("obs", {}):
        return f"has no column '{column}' in obs (cell_type_column of its row)"
    return ""
