"""Check config, tables, files, environments, device, disk and memory before the first job; exit 1 if a run would fail.

Needs the standard library and PyYAML only, so that it can speak where an environment is broken.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules import inspect_inputs as inputs  # noqa: E402  (found only with the line above)
from hwrules import inspect_machine as machine  # noqa: E402
from hwrules.config import BadInput  # noqa: E402
from hwrules.findings import FAIL, OK, Finding, fails, table  # noqa: E402
from hwrules.tables import read_table  # noqa: E402


def examine(config: dict, *, conda: bool, most: int) -> Iterator[Finding]:
    """Yield every finding about `config`, its tables and this machine."""
    yield Finding(OK, "config", "schema", "every key is known and in its range")
    given, tables = config["inputs"], {name: {} for name in ("slides", "patients", "datasets")}
    for name in tables:
        try:
            tables[name] |= read_table(given[name], ROOT / f"workflow/schemas/{name}.table.yaml") if given[name] else {}
        except BadInput as error:
            yield Finding(FAIL, "tables", name, str(error))
    slides, patients, datasets = tables.values()
    made_in = (config.get("simulate") or {}).get("folder")
    bulk = {"bulk": given["expression"]} if given["expression"] else {}
    yield from inputs.check_links(slides, patients)
    yield from inputs.check_events(patients, endpoint=given["endpoint"])
    yield from inputs.check_paths(slides, ["path", "features"], table="slides", made_in=made_in)
    yield from inputs.check_paths(datasets, ["path"], table="datasets", made_in=made_in)
    yield from inputs.check_paths(bulk, ["path"], table="expression", made_in=made_in)
    yield from inputs.check_slides(slides, most=most)
    yield from inputs.check_datasets(datasets)
    yield from machine.check_machine(config, ROOT / "envs", conda=conda, slides=slides, datasets=datasets)


def main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", type=json.loads, required=True, help="the complete config as JSON")
    parser.add_argument("--environments", choices=["here", "conda"], default="here", help="where steps run")
    parser.add_argument("--sample", type=int, default=20, help="slides to open")
    args = parser.parse_args(argv)
    findings = list(examine(args.config, conda=args.environments == "conda", most=args.sample))
    print(table(findings))
    sys.exit(1 if fails(findings) else 0)


if __name__ == "__main__":
    main(None)
