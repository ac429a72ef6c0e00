"""What training leaves behind: finished folds while it runs; then risks, other tables and the bundle."""

import argparse
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from histoweave.formats.bags import SlideBags
from histoweave.formats.bundle import FoldState, write_bundle
from histoweave.formats.files import fingerprint
from histoweave.formats.fold_results import FoldStore, KeptFold
from histoweave.formats.survival import RECONSTRUCTION, RISK, TRAINING
from histoweave.survival.crossfit import FoldResult


def checkpoint_folder(args: argparse.Namespace, record: Mapping) -> Path | None:
    """Folder of checkpoints of just these settings, seed and inputs; others are never gone on with."""
    if args.checkpoints is None:
        return None
    own = [args.model, args.horizons, args.covariates, args.groups, args.device, bool(args.features)]
    files = [fingerprint(path) for path in (args.families, *args.cells) if path]
    slides = sorted(Path(args.features).glob("*.h5ad")) if args.features else []
    tiles = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in slides]
    text = json.dumps([record, own, files, tiles], sort_keys=True)
    return args.checkpoints / hashlib.sha256(text.encode()).hexdigest()[:16]


def finished(store: FoldStore, number: tuple[int, int], make: Callable[[], FoldResult]) -> KeptFold:
    """The fold `number` (repeat, fold) from `store`, or made and put there."""
    found = store.get(*number)
    if found is None:
        found = _kept(make())
        store.put(found)
    return found


def _kept(result: FoldResult) -> KeptFold:
    names = ("repeat", "fold", "risk", "training", "reconstruction", "train_risk", "left_out")
    own = {name: getattr(result, name) for name in names}
    tensors, meta = result.fitted.state()
    return KeptFold(**own, tensors=tensors, meta=meta)


def write_trained(
    args: argparse.Namespace,
    results: Sequence[KeptFold],
    *,
    needs: Collection[str],
    bags: SlideBags | None,
    record: dict,
) -> None:
    """Write the results of all folds to the paths in `args`; needs : what `predict` must be given."""
    for kind, name in ((RISK, "risk"), (TRAINING, "training"), (RECONSTRUCTION, "reconstruction")):
        table = pd.concat([getattr(result, name) for result in results], ignore_index=True)
        kind.write(table, getattr(args, name), provenance=record)
    header = {
        "method": args.method,
        "needs": sorted(needs),
        "encoder": {**bags.encoder, "features": list(bags.feature_names)} if bags else None,
        "horizons_days": args.horizons,
    }
    states = [FoldState(r.repeat, r.fold, r.tensors, r.meta, r.train_risk) for r in results]
    write_bundle(args.bundle, header, states, provenance=record)
