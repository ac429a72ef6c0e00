"""Risks for new slides from a trained bundle: no genomics, no training data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from histoweave import steps
from histoweave.formats.bags import check_encoder, read_bags
from histoweave.formats.bundle import read_folds, read_header
from histoweave.formats.explained import GROUP_EXPRESSION, PREDICTION, heatmap_path, write_heatmap
from histoweave.formats.survival import ATTENTION
from histoweave.steps_explain import mean_attention
from histoweave.steps_predict import groups_table, usable_slides
from histoweave.survival.combine import Member, combined
from histoweave.survival.interface import unknown_outcome
from histoweave.survival.registry import method_module


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--qc", type=Path, required=True, help="qc.parquet of the slides stage")
    parser.add_argument("--features", type=Path, required=True, help="folder of the slides' feature files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--groups", type=Path, required=True)
    parser.add_argument("--attention", type=Path, required=True)
    parser.add_argument("--heatmaps", type=Path, required=True, help="folder for GeoJSON")
    parser.add_argument("--ledger", type=Path, required=True)
    args = parser.parse_args(argv)
    header = read_header(args.bundle)
    slides, account = usable_slides(args.qc)
    bags = read_bags(args.features, list(slides.values()))
    check_encoder(bags, header["encoder"])
    patients = unknown_outcome(tuple(slides), bags.bags, bags.feature_names)
    module = method_module(header["method"])
    members, metas, weights = [], [], []
    for state in read_folds(args.bundle, header):
        fitted = module.restore(state.tensors, state.meta)
        members.append(Member(fitted.predict(patients, header["horizons_days"]), state.train_risk))
        metas.append(state.meta)
        if hasattr(fitted, "attention"):
            weights.append(fitted.attention(patients))
    record = steps.provenance("survival/predict_slides", settings={}, seed=args.seed, inputs={"qc": args.qc})
    PREDICTION.write(combined(patients.ids, members, header["horizons_days"]), args.out, provenance=record)
    GROUP_EXPRESSION.write(groups_table(patients.ids, members, metas), args.groups, provenance=record)
    tiles = mean_attention(bags, patients.ids, weights)
    ATTENTION.write(tiles, args.attention, provenance=record)
    for slide, part in tiles.groupby("slide"):
        corners = part[["x", "y"]].to_numpy()
        if np.isfinite(corners).all() and np.isfinite(bags.tile_px[slide]):
            write_heatmap(heatmap_path(args.heatmaps, slide), corners, bags.tile_px[slide], part["score"], what="score")
    args.heatmaps.mkdir(parents=True, exist_ok=True)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
