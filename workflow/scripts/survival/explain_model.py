"""Attention over the slides of chosen patients, and integrated gradients of the risk with their checks."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from histoweave import steps
from histoweave.formats.bundle import read_folds, read_header
from histoweave.formats.survival import RISK
from histoweave.steps_explain import (
    add_explained,
    attention_rows,
    attribution_rows,
    explained_groups,
    null_fits,
    null_rows,
    write_explained,
)
from histoweave.steps_survival import add_inputs, load_patients
from histoweave.survival.attribution import ExplainSettings
from histoweave.survival.registry import method_module


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    add_inputs(parser)
    add_explained(parser)
    args = parser.parse_args(argv)
    settings = steps.settings_of(ExplainSettings, args.settings)
    patients, bags = load_patients(args)
    header, risk = read_header(args.bundle), RISK.read(args.risk)
    method, groups = header["method"], explained_groups(args, patients.genes)
    module, first = method_module(method), risk[risk["repeat"] == 0]
    tiles, attributions, checks, null = [], [], [], []
    for state in read_folds(args.bundle, header):
        fitted, place = module.restore(state.tensors, state.meta), {"repeat": state.repeat, "fold": state.fold}
        mine = risk[(risk["repeat"] == state.repeat) & (risk["fold"] == state.fold)]
        own = {"groups": groups, "seed": args.seed, "names": (method, *place.values())}
        explain = partial(attribution_rows, patients=patients, tested=mine["patient"], settings=settings, **own)
        rows, found = explain(fitted)
        attributions += [{**place, **row} for row in rows]
        if (state.repeat, state.fold) == (0, 0):
            refits = null_fits(args, patients, module, method, settings)
            null = null_rows(rows, (explain(other)[0] for other in refits))
        if bags is not None and state.repeat == 0:
            shown, controls = attention_rows(fitted, patients, bags, first, mine, settings, args.seed)
            tiles += [part.assign(**place) for part in shown]
            found += controls
        checks += [{**place, **row} for row in found]
    made = {"settings": asdict(settings), "seed": args.seed, "inputs": {"risk": args.risk}}
    record = steps.provenance("survival/explain_model", **made)
    write_explained(args, tiles=tiles, attributions=attributions, null=null, checks=checks, record=record)


if __name__ == "__main__":
    steps.run(main)
