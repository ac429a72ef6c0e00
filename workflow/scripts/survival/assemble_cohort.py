"""Join follow-up, slides and expression to the patients as analysed."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.ledger import Account
from histoweave.formats.slides import QC
from histoweave.formats.survival import ALTERATIONS, COHORT, EXPRESSION, read_clinical, read_profiles
from histoweave.steps_cohort import write_all_cohorts, write_profiles
from histoweave.survival.cohort import CohortSettings, assemble, check_expression, summary

log = logging.getLogger("histoweave")


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--patients", type=Path, required=True, help="the patients table")
    parser.add_argument("--slides", type=Path, help="qc.parquet of the slides stage")
    parser.add_argument("--inputs", type=json.loads, required=True, help="JSON of the config's inputs")
    parser.add_argument("--out", type=Path, required=True)
    for name in ("with-external", "expression", "alterations"):
        parser.add_argument(f"--{name}", type=Path, help="where all cohorts' patients, or their profiles, go")
    parser.add_argument("--ledger", type=Path, required=True)
    args = parser.parse_args(argv)
    inputs, account = args.inputs, Account("survival")
    settings = steps.settings_of(CohortSettings, args.settings)
    clinical = read_clinical(args.patients, endpoint=inputs["endpoint"], covariates=inputs["covariates"])
    slides = QC.read(args.slides) if args.slides else QC.empty()
    files = {"patients": args.patients, "slides": args.slides}
    record = steps.provenance("survival/assemble_cohort", settings=settings, seed=args.seed, inputs=files)
    profiles = None
    if args.expression:
        table = read_profiles(inputs["expression"]["path"], key="inputs.expression.path")
        profiles, gaps = check_expression(table, scale=inputs["expression"]["scale"])
        account.items("gene", "expression", n_in=table.shape[1], n_out=profiles.shape[1])
        for part in gaps:
            account.leave_out(part.kind, "expression", part.items, part.reason)
    names = set() if profiles is None else set(profiles.index)
    cohort, left_out = assemble(clinical, slides, names, at_least=settings.at_least)
    account.items("patient", "cohort", n_in=len(clinical), n_out=len(cohort))
    for part in left_out:
        account.leave_out(part.kind, "cohort", part.items, part.reason)
    if profiles is not None:
        scale = inputs["expression"]["scale"]
        write_profiles(EXPRESSION, profiles, cohort, args.expression, account, record, scale=scale)
    if args.alterations:
        table = read_profiles(inputs["alterations"], key="inputs.alterations")
        write_profiles(ALTERATIONS, table, cohort, args.alterations, account, record, scale="alterations")
    if args.with_external:
        cohort = write_all_cohorts(cohort, args.patients, inputs["cohorts"], args.with_external, record)
    COHORT.write(cohort, args.out, provenance=record)
    account.write(args.ledger, provenance=record)
    log.info(", ".join(f"{count} {what}" for what, count in summary(cohort).items()))


if __name__ == "__main__":
    steps.run(main)
