"""Train MuSe-GNN on all gene graphs, with edges left out, and write the embedding of its best epoch."""

import logging
from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.device import pick_device
from histoweave.formats.genegraph import StoredRun, read_graph
from histoweave.genegraph.checkpoint import pack, unpack
from histoweave.genegraph.graph import GeneGraph
from histoweave.genegraph.heldout import HeldOutSettings, split_edges
from histoweave.genegraph.step import MuseGnnSettings
from histoweave.genegraph.train import TrainSettings, train
from histoweave.steps_genegraph import write_trained

log = logging.getLogger("histoweave")


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--graphs", type=Path, nargs="+", required=True, help="graphs (h5ad)")
    parser.add_argument("--out", type=Path, required=True, help="embedding (h5ad)")
    parser.add_argument("--weights", type=Path, required=True, help="weights (safetensors, with a .json beside it)")
    parser.add_argument("--curve", type=Path, required=True, help="training curve (Parquet)")
    args = parser.parse_args(argv)
    held_out = steps.settings_of(HeldOutSettings, args.settings["held_out"])
    model = steps.settings_of(MuseGnnSettings, args.settings["musegnn"])
    training = steps.settings_of(TrainSettings, args.settings["train"])
    split = split_edges([GeneGraph(**read_graph(path)) for path in args.graphs], settings=held_out, seed=args.seed)
    device = pick_device(training.device)
    log.info("%d graphs on %s", len(split.graphs), device)
    record = steps.provenance(
        "genegraph/train_embedding", settings=args.settings, seed=args.seed, inputs={"graphs": args.graphs}
    )
    stored = StoredRun(args.weights.with_name("checkpoint.safetensors"), record)
    trained = train(
        split,
        model_settings=model,
        settings=training,
        seed=args.seed,
        device=device,
        resume=lambda *parts: unpack(*found, *parts) if (found := stored.read()) else None,
        save=lambda *parts: stored.write(*pack(*parts)),
        watch=tell,
    )
    log.info("best epoch: %d", trained.best_epoch)
    write_trained(args, trained, split.graphs, model=model, record=record)
    stored.remove()


def tell(epoch: int, parts: dict[str, float]) -> None:
    """Log the parts of the loss where the validation edges were looked at."""
    if "validation_auc" in parts:
        log.info("epoch %d: %s", epoch, ", ".join(f"{part} {value:.4f}" for part, value in parts.items()))


if __name__ == "__main__":
    steps.run(main)
