"""Predict what a gene is (such as dosage sensitive or not) from its vector."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.genegraph import FUNCTION, FUNCTION_SCORES, GENE_EMBEDDING, vectors_of
from histoweave.formats.ledger import Account
from histoweave.formats.text import read_columns
from histoweave.genegraph.function import FunctionSettings, predict_function


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--gene-embedding", type=Path, required=True, help="one vector per gene (Parquet)")
    parser.add_argument("--labels", type=Path, required=True, help="TSV with columns gene and label")
    parser.add_argument("--scores", type=Path, required=True, help="scores (Parquet)")
    parser.add_argument("--predictions", type=Path, required=True, help="out-of-fold predictions (Parquet)")
    parser.add_argument("--ledger", type=Path, required=True, help="labelled genes left out")
    args = parser.parse_args(argv)
    settings = steps.settings_of(FunctionSettings, args.settings)
    embedding = GENE_EMBEDDING.read(args.gene_embedding)
    labels = read_columns(args.labels, ["gene", "label"], key="genegraph.gene_function.labels").dropna()
    scores, predictions, absent = predict_function(
        embedding["gene"].to_numpy(str), vectors_of(embedding), labels, settings=settings, seed=args.seed
    )
    inputs = {"gene_embedding": args.gene_embedding, "labels": args.labels}
    record = steps.provenance("genegraph/predict_function", settings=settings, seed=args.seed, inputs=inputs)
    FUNCTION_SCORES.write(scores, args.scores, provenance=record)
    FUNCTION.write(predictions, args.predictions, provenance=record)
    account = Account("genegraph")
    account.items("labelled gene", args.labels.name, n_in=len(labels), n_out=len(labels) - len(absent))
    account.leave_out("labelled gene", args.labels.name, absent, "the gene is not embedded")
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
