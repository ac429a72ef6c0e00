"""As much of `conda` as Snakemake 9 calls, done by py-rattler: every channel is answered by $LOCAL_CHANNEL.

Started by conda/bin/conda with the Python in $SOLVER_PYTHON.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import rattler
import yaml

BASE = Path(__file__).resolve().parent / "conda"
PLATFORMS = ["linux-64", "noarch"]


def answer(args: Sequence[str]) -> str:
    """What conda would print; makes the environment for ``env create`` and ``create``."""
    match args[0]:
        case "--version":
            return "conda 25.1.0"
        case "info":
            about = {"conda_prefix": str(BASE), "platform": "linux-64", "envs_dirs": [], "conda_version": "25.1.0"}
            return json.dumps(about)
        case "config":
            return json.dumps({"get": {"channel_priority": "strict"}, "success": True, "warnings": []})
        case "clean":
            return ""
        case "list":
            return explicit(Path(option(args, "-p", "--prefix")))
        case _:
            return create(Path(option(args, "--file", "-f")), option(args, "--prefix", "-p"))


def option(args: Sequence[str], *names: str) -> str:
    """Value after the first of `names` that is given."""
    return next(args[args.index(name) + 1] for name in names if name in args)


def explicit(prefix: Path) -> str:
    """The packages of an environment as URLs."""
    records = [json.loads(file.read_text()) for file in sorted((prefix / "conda-meta").glob("*.json"))]
    return "\n".join(["@EXPLICIT", *(f"{record['url']}#{record.get('md5') or ''}" for record in records)])


def specs_of(file: Path) -> list[str]:
    """Packages that an environment or pin file asks for; of a pin's URL only name and version count here."""
    text = file.read_text()
    if "@EXPLICIT" not in text:
        return yaml.safe_load(text)["dependencies"]
    urls = [line.split("#")[0] for line in text.splitlines() if line.startswith(("http", "file"))]
    parts = [url.rsplit("/", 1)[1].removesuffix(".conda").removesuffix(".tar.bz2").rsplit("-", 2) for url in urls]
    return [f"{name} =={version}" for name, version, _ in parts]


def create(file: Path, prefix: str) -> str:
    """Solve and install."""

    async def go() -> int:
        channel = [f"file://{os.environ['LOCAL_CHANNEL']}"]
        virtual = rattler.VirtualPackage.detect()
        records = await rattler.solve(channel, specs_of(file), platforms=PLATFORMS, virtual_packages=virtual)
        await rattler.install(records, target_prefix=prefix, show_progress=False)
        return len(records)

    return f"installed {asyncio.run(go())} packages into {prefix}"


if __name__ == "__main__":
    print(answer(sys.argv[1:]))
