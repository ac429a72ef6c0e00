"""Whether orthologues of different species lie together in the embedding."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.genegraph import EMBEDDING, ORTHOLOGY
from histoweave.formats.text import read_columns
from histoweave.genegraph.neighbours import communities
from histoweave.genegraph.orthology import OrthologySettings, orthologue_agreement
from histoweave.rng import derive_seed, generator


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding of all datasets (h5ad)")
    parser.add_argument("--orthologues", type=Path, required=True, help="TSV with one column per species")
    parser.add_argument("--out", type=Path, required=True, help="agreement (Parquet)")
    args = parser.parse_args(argv)
    settings = steps.settings_of(OrthologySettings, args.settings)
    embedding = EMBEDDING.read(args.embedding)
    rows = embedding.obs.reset_index(drop=True).astype(str)
    cluster = communities(
        embedding.X,
        number=settings.neighbours,
        resolution=settings.resolution,
        seed=derive_seed(args.seed, "genegraph/orthology"),
    )
    table = read_columns(args.orthologues, [], key="genegraph.orthology.table")
    found = orthologue_agreement(
        embedding.X, rows, cluster, table, rng=generator(args.seed, "genegraph/orthology/random")
    )
    inputs = {"embedding": args.embedding, "orthologues": args.orthologues}
    record = steps.provenance("genegraph/compare_species", settings=settings, seed=args.seed, inputs=inputs)
    ORTHOLOGY.write(found, args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
