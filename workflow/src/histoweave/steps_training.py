"""What the scripts that train share: what a job needs, its folds one by one, and what it leaves behind."""

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import pandas as pd

from histoweave.formats.bags import SlideBags
from histoweave.formats.bundle import FoldState, write_bundle
from histoweave.formats.files import fingerprint
from histoweave.formats.fold_results import FoldStore, KeptFold
from histoweave.formats.ledger import Account
from histoweave.formats.survival import FOLDS, RECONSTRUCTION, RISK, TRAINING
from histoweave.steps import progress, provenance, settings_of
from histoweave.steps_survival import add_inputs, load_patients, load_wanted
from histoweave.survival.crossfit import FoldResult, fit_fold
from histoweave.survival.interface import Context, Patients
from histoweave.survival.registry import method_module, picked_device


@dataclass(frozen=True)
class TrainingJob:
    """What every fold of a model needs; shared : what its context holds; record : provenance of all that is made."""

    module: ModuleType
    settings: object
    patients: Patients
    bags: SlideBags | None
    shared: Mapping
    record: dict


def add_training(parser: argparse.ArgumentParser) -> None:
    """Arguments of every script that fits folds."""
    add_inputs(parser)
    parser.add_argument("--model", required=True, help="the model's name")
    parser.add_argument("--method", required=True, help="file of the library that holds the method")
    parser.add_argument("--horizons", type=int, nargs="+", required=True, help="days")
    parser.add_argument("--groups", type=json.loads, required=True, help="JSON of survival.gene_groups")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folds", type=Path, required=True, help="folds.parquet")
    parser.add_argument("--checkpoints", type=Path, help="folder from which a killed job goes on; emptied at the end")


def prepared(args: argparse.Namespace, account: Account) -> TrainingJob:
    """Read what the arguments name; gene groups that are left out go to `account`."""
    module = method_module(args.method)
    settings = settings_of(module.Settings, args.settings)
    patients, bags = load_patients(args)
    shared = load_wanted(args, getattr(module, "USES", frozenset()), patients.genes, account)
    shared["device"] = picked_device(args.method, args.device)
    names = ("cohort", "folds", "expression", "alterations", "gene_embedding", "modules")
    inputs = {name: getattr(args, name) for name in names}
    record = provenance(f"survival/train_model {args.method}", settings=settings, seed=args.seed, inputs=inputs)
    return TrainingJob(module, settings, patients, bags, shared, record)


def tables_of_folds(args: argparse.Namespace) -> list[pd.DataFrame]:
    """Roles of the patients, a table per repeat and fold."""
    return [rows for _, rows in FOLDS.read(args.folds).groupby(["repeat", "fold"])]


def fit_folds(
    job: TrainingJob, args: argparse.Namespace, tables: Sequence[pd.DataFrame], *, fitted: Sequence[Path] = ()
) -> list[KeptFold]:
    """Fit the model on each of `tables`, but for folds that lie in the folders `fitted` or in the checkpoints."""
    store = FoldStore(checkpoint_folder(args, job.record))
    shared = dict(job.shared)
    if getattr(job.module, "RESUMES", False):  # others go on with the fold that was under way from its beginning
        shared["checkpoint_dir"] = store.folder
    results = []
    for roles in progress(tables, what=f"folds of {args.model}"):
        number = tuple(int(roles[name].iloc[0]) for name in ("repeat", "fold"))
        context = Context(args.seed, (args.model, *map(str, number)), **shared)
        own = {"settings": job.settings, "context": context, "horizons_days": args.horizons}
        stores = [*map(FoldStore, fitted), store]
        results.append(finished(stores, number, partial(fit_fold, job.patients, roles, job.module, **own)))
    return results


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


def forget_checkpoints(args: argparse.Namespace) -> None:
    """Remove the checkpoints of a job that has written all."""
    if args.checkpoints:
        shutil.rmtree(args.checkpoints, ignore_errors=True)


def finished(stores: Sequence[FoldStore], number: tuple[int, int], make: Callable[[], FoldResult]) -> KeptFold:
    """The fold `number` (repeat, fold) from the first store that has it, or made and put into the last."""
    for store in stores:
        if (found := store.get(*number)) is not None:
            return found
    made = _kept(make())
    stores[-1].put(made)
    return made


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
