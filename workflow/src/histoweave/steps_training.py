"""What training leaves behind: out-of-fold risks, training curves, and the bundle that predicts new slides."""

import argparse
from collections.abc import Collection, Sequence

import pandas as pd

from histoweave.formats.bags import SlideBags
from histoweave.formats.bundle import FoldState, write_bundle
from histoweave.formats.survival import RISK, TRAINING
from histoweave.survival.crossfit import FoldResult


def write_trained(
    args: argparse.Namespace,
    results: Sequence[FoldResult],
    *,
    needs: Collection[str],
    bags: SlideBags | None,
    record: dict,
) -> None:
    """Write the results of all folds to the paths in `args`; needs : what `predict` must be given."""
    RISK.write(pd.concat([r.risk for r in results], ignore_index=True), args.risk, provenance=record)
    TRAINING.write(pd.concat([r.training for r in results], ignore_index=True), args.training, provenance=record)
    header = {
        "method": args.method,
        "needs": sorted(needs),
        "encoder": {**bags.encoder, "features": list(bags.feature_names)} if bags else None,
        "horizons_days": args.horizons,
    }
    states = [FoldState(r.repeat, r.fold, *r.fitted.state(), r.train_risk) for r in results]
    write_bundle(args.bundle, header, states, provenance=record)
