"""Attention over the slides of chosen patients, and integrated gradients of the risk with their checks."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats.bundle import read_folds, read_header
from histoweave.formats.explained import ATTRIBUTIONS, CHECKS
from histoweave.formats.survival import ATTENTION, RISK
from histoweave.steps_explain import attention_rows, attribution_rows, stability_rows
from histoweave.steps_survival import add_inputs, load_patients
from histoweave.survival.attribution import ExplainSettings, percentile_scores
from histoweave.survival.registry import method_module


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    add_inputs(parser)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--risk", type=Path, required=True, help="risk.parquet of the model")
    parser.add_argument("--attention", type=Path, required=True)
    parser.add_argument("--attributions", type=Path, required=True)
    parser.add_argument("--checks", type=Path, required=True)
    args = parser.parse_args(argv)
    settings = steps.settings_of(ExplainSettings, args.settings)
    patients, bags = load_patients(args)
    header, risk = read_header(args.bundle), RISK.read(args.risk)
    module = method_module(header["method"])
    tiles, attributions, checks = [], [], []
    for state in read_folds(args.bundle, header):
        fitted = module.restore(state.tensors, state.meta)
        mine = risk[(risk["repeat"] == state.repeat) & (risk["fold"] == state.fold)]
        names = (header["method"], state.repeat, state.fold)
        rows, gaps = attribution_rows(fitted, patients, mine["patient"], settings, seed=args.seed, names=names)
        attributions += [{"repeat": state.repeat, "fold": state.fold, **row} for row in rows]
        checks += [{"repeat": state.repeat, "fold": state.fold, **row} for row in gaps]
        if bags is not None and state.repeat == 0:
            found, controls = attention_rows(
                fitted, patients, bags, risk[risk["repeat"] == 0], mine, settings, args.seed
            )
            tiles += [part.assign(repeat=state.repeat, fold=state.fold) for part in found]
            checks += [{"repeat": state.repeat, "fold": state.fold, **row} for row in controls]
    frame = pd.DataFrame(attributions, columns=list(ATTRIBUTIONS.columns))
    checks += stability_rows(frame)
    scores = percentile_scores([part["attention"].to_numpy() for part in tiles])
    tiles = [part.assign(score=score) for part, score in zip(tiles, scores, strict=True)]
    record = steps.provenance(
        "survival/explain_model", settings=asdict(settings), seed=args.seed, inputs={"risk": args.risk}
    )
    ATTENTION.write(pd.concat(tiles) if tiles else ATTENTION.empty(), args.attention, provenance=record)
    ATTRIBUTIONS.write(frame, args.attributions, provenance=record)
    CHECKS.write(pd.DataFrame(checks, columns=list(CHECKS.columns)), args.checks, provenance=record)


if __name__ == "__main__":
    steps.run(main)
