"""Checks of the machine: packages, device, disk, memory, clock, and what another run left."""

import importlib.metadata as metadata
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from hwrules.findings import FAIL, NOTE, OK, WARN, Finding, first_of

PYPI_NAME = {"pytorch": "torch", "pytorch_geometric": "torch-geometric", "matplotlib-base": "matplotlib",
             "python-igraph": "igraph"}  # fmt: skip
NOT_FROM_PIP = {"python", "openslide", "r-base", "r-sctransform", "bioconductor-glmgampoi", "rpy2"}
GB = 1e9
MEMORY_NEEDED_GB = 4.0
ASKED_GB = 8.0  # by train_model and the large steps of expression, at the first attempt
BASE = 0.6 * GB  # Python with torch
TISSUE_SHARE = 0.5  # of a slide, where nothing better is known
FEATURES = 187
BYTES_PER_SLIDE = 3e6  # thumbnail, tiles, outline


def check_machine(config: Mapping, envs: Path, *, conda: bool, slides: Mapping, datasets: Mapping) -> Iterator[Finding]:
    """Every check of this file, in the order in which a reader wants them."""
    results = Path(config["results_dir"])
    yield from check_environments(envs, conda=conda)
    yield from check_device(config)
    yield from check_disk(results, forecast_bytes(config, slides=slides, datasets=datasets))
    yield from check_memory(forecast_memory(config, slides=slides, datasets=datasets))
    yield from check_clock(results, now=now())
    yield from check_other_runs()
    yield from estimate_hours(results)


def check_environments(folder: Path, *, conda: bool) -> Iterator[Finding]:
    """Packages of every stage, at the versions that its environment names."""
    if conda:
        found = shutil.which("conda")
        yield Finding(
            OK if found else FAIL, "environment", "conda", found or "--sdm conda was asked for; no conda here"
        )
        return
    for path in sorted(folder.glob("*.yaml")):
        pins = dict(re.findall(r"(?m)^\s+- ([\w.-]+) =([\w.]+)", path.read_text()))
        pins = {PYPI_NAME.get(name, name): version for name, version in pins.items() if name not in NOT_FROM_PIP}
        missing, other = [], []
        for name, version in pins.items():
            installed = installed_version(name)
            if installed is None:
                missing.append(name)
            elif installed.split("+")[0] != version:
                other.append(f"{name} {installed} for {version}")
        if missing:
            detail = f"not installed: {first_of(missing)}; `make env` installs it, or run with --sdm conda"
            yield Finding(FAIL, "environment", path.stem, detail)
        elif other:
            yield Finding(WARN, "environment", path.stem, f"other versions than tested: {first_of(other)}")
        else:
            yield Finding(OK, "environment", path.stem, f"{len(pins)} packages at the tested versions")


def installed_version(name: str) -> str | None:
    """Version of the distribution `name` in this Python, None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_device(config: Mapping) -> Iterator[Finding]:
    """A GPU where the config insists on one. On a cluster the node that runs the job counts, not this one."""
    wanted = {
        f"{section}.device": part["device"]
        for section, part in config.items()
        if isinstance(part, Mapping) and "device" in part
    }
    code = "import torch; print(torch.cuda.device_count())"
    try:
        seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
        number = int(seen.stdout or 0)
    except (subprocess.TimeoutExpired, ValueError):
        number = 0
    insists = [key for key, value in wanted.items() if value == "cuda"]
    if insists and not number:
        yield Finding(FAIL, "device", "GPU", f"none here, but {first_of(insists)} is 'cuda'; set it to 'auto' or 'cpu'")
    else:
        yield Finding(OK, "device", "GPU", f"{number} seen by torch; device 'auto' takes the CPU where there is none")


def forecast_bytes(config: Mapping, *, slides: Mapping, datasets: Mapping) -> dict[str, float]:
    """Return bytes that the results will take, per stage, from the number of slides, tiles and cells."""
    tiles = count_tiles(config, slides)
    sizes = [Path(row["path"]).stat().st_size for row in datasets.values() if Path(row["path"]).is_file()]
    return {
        "slides": tiles * FEATURES * 4 * 1.2 + len(slides) * BYTES_PER_SLIDE,
        "expression and genegraph": 3.0 * sum(sizes),
    }


def count_tiles(config: Mapping, slides: Mapping) -> float:
    """Tiles that all slides will about give."""
    tile_um = config["slides"]["tiles"]["mpp"] * config["slides"]["tiles"]["tile_px"]
    return sum(tiles_of(row, tile_um=tile_um) for row in slides.values())


def tiles_of(row: Mapping, *, tile_um: float) -> float:
    """Tiles that a slide will give, from the size of its file (a JPEG slide has about 6 bits per pixel)."""
    path = Path(row.get("path") or "")
    if not path.is_file():
        return 50.0
    mpp = row.get("mpp") or 0.4
    return path.stat().st_size / 0.25 * mpp**2 / tile_um**2 * TISSUE_SHARE


def check_disk(results: Path, need: Mapping[str, float]) -> Iterator[Finding]:
    """The results folder can be written and has room for what is to come."""
    place = results
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        yield Finding(FAIL, "disk", str(results), f"{place} cannot be written to; set results_dir elsewhere")
        return
    free, total = shutil.disk_usage(place).free, sum(need.values())
    status = FAIL if free < total else WARN if free < 3 * total else OK
    parts = ", ".join(f"{stage} {size / GB:.1f}" for stage, size in need.items())
    yield Finding(status, "disk", str(results), f"{free / GB:.1f} GB free, about {total / GB:.1f} GB to come ({parts})")
    inodes = os.statvfs(place).f_favail
    if 0 < inodes < 10_000:
        yield Finding(WARN, "disk", "inodes", f"only {inodes} files can still be made")


def forecast_memory(config: Mapping, *, slides: Mapping, datasets: Mapping) -> dict[str, float]:
    """Return bytes that the largest job of a stage will about need, from the number of slides, tiles and genes.

    Measured: a slide of 60,000 px takes 0.5 GB; training holds the features of all tiles twice at most; tables of
    gene pairs are a few square matrices beside the blocks of cells, which expression.memory_gb bounds.
    """
    need = {}
    if slides:
        need["slides"] = BASE + 0.5 * GB
        need["survival"] = BASE + 2 * 4 * FEATURES * count_tiles(config, slides)
    if datasets:
        pairs = 6 * 8 * config["expression"]["hvg"]["n_genes"] ** 2
        counts = [Path(row["path"]).stat().st_size for row in datasets.values() if Path(row["path"]).is_file()]
        need["expression"] = BASE + pairs + min(config["expression"]["memory_gb"] * GB, 10.0 * max(counts, default=0))
    return need


def check_memory(need: Mapping[str, float]) -> Iterator[Finding]:
    """Memory of this machine beside what the largest jobs will need; on a cluster the nodes count."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return
    total = int(re.search(r"MemTotal:\s+(\d+)", text)[1]) * 1024
    status = OK if total >= max([MEMORY_NEEDED_GB * GB, *need.values()]) else WARN
    parts = ", ".join(f"{stage} {size / GB:.1f}" for stage, size in need.items()) or "little"
    detail = f"{total / GB:.1f} GB here, largest jobs about: {parts}; a run on one machine: --resources mem_mb="
    yield Finding(status, "memory", "machine", f"{detail}{int(total / 1e6 * 0.8)}")
    large = [stage for stage, size in need.items() if size > ASKED_GB * GB]
    if large:
        detail = f"{first_of(large)}: more than the {ASKED_GB:.0f} GB that its jobs ask for at first; raise it with "
        yield Finding(NOTE, "memory", "jobs", detail + "--set-resources, or each is killed and tried again with twice")


def check_clock(results: Path, *, now: float) -> Iterator[Finding]:
    """Files from the future make Snakemake run too much or too little."""
    late = [
        p for p in [results, *results.glob("*"), *results.glob("*/*")] if p.exists() and p.stat().st_mtime > now + 60
    ]
    if late:
        yield Finding(WARN, "clock", str(late[0]), f"{len(late)} results are from the future; the clocks differ")
    else:
        yield Finding(OK, "clock", "results", "no file from the future")


def check_other_runs() -> Iterator[Finding]:
    """Jobs of a run whose Snakemake ended: they would write beside a new run."""
    if not shutil.which("squeue"):
        return
    command = ["squeue", "--me", "-h", "-o", "%i %j"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        yield Finding(WARN, "cluster", "squeue", "does not answer")
        return
    if listed.returncode:
        yield Finding(NOTE, "cluster", "squeue", f"no cluster answers: {listed.stderr[:120]}")
        return
    ours = [line for line in listed.stdout.splitlines() if " histoweave" in line]
    status = WARN if ours else OK
    detail = (
        f"jobs of another run, wait for them before --unlock: {first_of(ours)}" if ours else "no job of another run"
    )
    yield Finding(status, "cluster", "squeue", detail)


def estimate_hours(results: Path) -> Iterator[Finding]:
    """Hours per stage that earlier jobs took, from their benchmark files."""
    for stage in sorted(p for p in (results / "benchmarks").glob("*") if p.is_dir()):
        seconds, jobs = 0.0, 0
        for file in stage.rglob("*.tsv"):
            lines = file.read_text().splitlines()
            if len(lines) > 1:
                seconds += float(lines[1].split("\t")[0])
                jobs += 1
        if jobs:
            yield Finding(NOTE, "time", stage.name, f"{seconds / 3600:.2f} hours in {jobs} jobs the last time")


def now() -> float:
    """Seconds since 1970."""
    return time.time()
