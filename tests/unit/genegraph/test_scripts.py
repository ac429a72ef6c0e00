"""The scripts from co-expression to metrics, on planted data; the same seed writes the same bytes."""

import importlib.util
import json
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from genegraph.planted import coexpression, expression
from genegraph.test_train import MODEL, TRAIN
from histoweave.errors import InputError
from histoweave.formats.expression import COEXPRESSION, RESIDUALS
from histoweave.formats.genegraph import (
    COMPARISONS,
    DIFFERENTIAL,
    ENRICHMENT,
    FUNCTION_SCORES,
    GENE_EMBEDDING,
    METRICS,
    MODULES,
    ORTHOLOGY,
    SEED_METRICS,
)
from histoweave.formats.ledger import LEDGER

HELD_OUT = {"test": 0.1, "validation": 0.05}
MODULE = {
    "tissues": [], "neighbours": 8, "resolution": 1.0, "min_genes": 5, "listed_neighbours": 3, "layout_epochs": 20
}  # fmt: skip
BASELINES = {
    "published_epochs": 2, "gae_epochs": 2, "gae_rate": 0.01, "skip_epochs": 1, "negatives": 2, "walks": 1,
    "walk_length": 4, "window": 1, "jump": 0.2,
}  # fmt: skip
METRIC = {"methods": ["random_per_gene"], "seeds": 1, "neighbours": 8, "resolution": 1.0, "lisi_neighbours": 12}


@pytest.fixture(scope="module")
def run(request):
    """Call of a script's main by name, with settings as JSON."""
    folder = request.config.rootpath / "workflow/scripts/genegraph"

    def call(name, settings, *arguments):
        spec = importlib.util.spec_from_file_location(f"script_{name}", folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        module.main(["--settings", json.dumps(settings), "--seed", "3", *map(str, arguments)])

    return call


def write_inputs(folder, number):
    values, names = expression(np.random.default_rng(number), cells=100, modules=3, size=10, alone=10, own=f"d{number}")
    var = pd.DataFrame(0.0, index=names, columns=list(RESIDUALS.var))
    RESIDUALS.write(ad.AnnData(values.astype(np.float32), var=var), folder / f"r{number}.h5ad", provenance={})
    pairs = coexpression(values, names).assign(statistic=0.0, p_value=0.5, q_value=0.5, defined=True)
    COEXPRESSION.write(pairs, folder / f"c{number}.parquet", provenance={})


def whole(run, inputs, out):
    """All steps; returns the folder."""
    graphs = []
    for number, species in enumerate(("human", "mouse")):
        graphs.append(out / f"g{number}.h5ad")
        run(
            "build_graph", {"components": 0}, "--residuals", inputs / f"r{number}.h5ad",
            "--coexpression", inputs / f"c{number}.parquet", "--dataset", f"set{number}", "--modality", "scrna",
            "--tissue", "blood", "--species", species, "--out", graphs[-1], "--ledger", out / f"l{number}.parquet",
        )  # fmt: skip
    settings = {"held_out": HELD_OUT, "musegnn": MODEL, "train": TRAIN}
    run(
        "train_embedding", settings, "--graphs", *graphs, "--out", out / "embedding.h5ad",
        "--weights", out / "model.safetensors", "--curve", out / "training.parquet",
    )  # fmt: skip
    run(
        "find_modules", MODULE, "--embedding", out / "embedding.h5ad", "--gene-embedding", out / "genes.parquet",
        "--gene-vectors", out / "vectors.h5ad", "--tissue-embedding", out / "tissues.parquet",
        "--modules", out / "modules.parquet", "--neighbours", out / "neighbours.parquet",
    )  # fmt: skip
    run(
        "measure_embedding", {"baselines": BASELINES, "held_out": HELD_OUT, "metrics": METRIC}, "--graphs", *graphs,
        "--embedding", out / "embedding.h5ad", "--out", out / "metrics.parquet",
        "--by-seed", out / "metrics_by_seed.parquet", "--comparisons", out / "comparisons.parquet",
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def done(run, tmp_path_factory):
    inputs = tmp_path_factory.mktemp("inputs")
    for number in range(2):
        write_inputs(inputs, number)
    return inputs, whole(run, inputs, tmp_path_factory.mktemp("first"))


def test_tables_fit_each_other(done):
    out = done[1]
    genes = GENE_EMBEDDING.read(out / "genes.parquet")
    assert [f"e{i}" for i in range(8)] == [name for name in genes.columns if name != "gene"]
    assert MODULES.read(out / "modules.parquet")["gene"].tolist() == genes["gene"].tolist()
    metrics = METRICS.read(out / "metrics.parquet").pivot_table(index="method", columns="metric", values="value")
    assert metrics.loc["musegnn", "held_out_auc"] > metrics.loc["random_per_gene", "held_out_auc"] + 0.2
    assert not (out / "checkpoint.safetensors").exists()


def test_gene_vectors_open_in_other_tools(done):
    """As a user of scanpy would: no reader of ours, genes by name, a picture by the name that scanpy knows."""
    out = done[1]
    found = ad.read_h5ad(out / "vectors.h5ad")
    genes = GENE_EMBEDDING.read(out / "genes.parquet").set_index("gene")
    np.testing.assert_array_equal(found.X, genes.loc[found.obs_names].to_numpy(np.float32))
    np.testing.assert_allclose(np.linalg.norm(found["m0_0"].X, axis=1), 1, rtol=1e-5)
    modules = MODULES.read(out / "modules.parquet").set_index("gene")
    assert found.obs["module"].astype(str).equals(modules.loc[found.obs_names, "module"].astype(str))
    assert found.obsm["X_umap"].shape == (len(genes), 2)


def test_other_seeds_are_joined(run, done, tmp_path):
    """Metrics of another seed beside our own: means with intervals, and paired gains."""
    out = done[1]
    first = SEED_METRICS.read(out / "metrics_by_seed.parquet")
    assert set(first["seed"]) == {3}
    other = first.assign(seed=4, value=first["value"] + np.where(first["method"] == "musegnn", 0.02, 0.0))
    SEED_METRICS.write(other, tmp_path / "other.parquet", provenance={})
    graphs = [out / "g0.h5ad", out / "g1.h5ad"]
    run(
        "measure_embedding", {"baselines": BASELINES, "held_out": HELD_OUT, "metrics": METRIC}, "--graphs", *graphs,
        "--embedding", out / "embedding.h5ad", "--others", tmp_path / "other.parquet",
        "--out", tmp_path / "metrics.parquet", "--by-seed", tmp_path / "by_seed.parquet",
        "--comparisons", tmp_path / "comparisons.parquet",
    )  # fmt: skip
    keys = ["method", "metric"]
    one, both = (METRICS.read(folder / "metrics.parquet").set_index(keys) for folder in (out, tmp_path))
    ours = ("musegnn", "held_out_auc")
    assert both.loc[ours, "value"] == pytest.approx(one.loc[ours, "value"] + 0.01)
    assert both.loc[ours, "lower"] < both.loc[ours, "value"] < both.loc[ours, "upper"]
    assert (both["seeds"] == 2).all()
    gain = COMPARISONS.read(tmp_path / "comparisons.parquet").set_index(keys).loc[("random_per_gene", "held_out_auc")]
    apart = one.loc[ours, "value"] - one.loc[("random_per_gene", "held_out_auc"), "value"]
    assert gain["difference"] == pytest.approx(apart + 0.01)
    assert gain["lower"] < gain["difference"] < gain["upper"]


def test_the_same_seed_writes_the_same_bytes(run, done, tmp_path):
    inputs, first = done
    second = whole(run, inputs, tmp_path)
    differing = [
        path.name for path in sorted(first.iterdir()) if path.read_bytes() != (second / path.name).read_bytes()
    ]
    assert differing == []


def test_applications_run_on_what_the_stage_wrote(run, done, tmp_path):
    out = done[1]
    genes = GENE_EMBEDDING.read(out / "genes.parquet")["gene"]
    module = [gene for gene in genes if gene.startswith("m0_")]
    (tmp_path / "sets.gmt").write_text("planted\t\t" + "\t".join(module) + "\nother\t\tx\ty\n")
    sets = {"gmt": "sets.gmt", "min_genes": 5, "max_genes": 50, "folds": 3, "fdr": 0.05}
    run(
        "test_gene_sets", sets, "--gene-embedding", out / "genes.parquet", "--modules", out / "modules.parquet",
        "--gmt", tmp_path / "sets.gmt", "--enrichment", tmp_path / "e.parquet", "--probes", tmp_path / "p.parquet",
        "--ledger", tmp_path / "l.parquet",
    )  # fmt: skip
    assert ENRICHMENT.read(tmp_path / "e.parquet").iloc[0]["q_value"] < 0.05
    assert LEDGER.read(tmp_path / "l.parquet")["item"].tolist() == ["other"]
    run(
        "compare_conditions", {"first": ["set0"], "second": ["set1"]}, "--graphs", out / "g0.h5ad", out / "g1.h5ad",
        "--embedding", out / "embedding.h5ad", "--out", tmp_path / "d.parquet",
    )  # fmt: skip
    assert len(DIFFERENTIAL.read(tmp_path / "d.parquet")) == 30
    table = pd.DataFrame({"gene": genes, "label": ["in" if gene in module else "out" for gene in genes]})
    table.to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    run(
        "predict_function", {"labels": "labels.tsv", "outer_folds": 3, "inner_folds": 2},
        "--gene-embedding", out / "genes.parquet", "--labels", tmp_path / "labels.tsv",
        "--scores", tmp_path / "s.parquet", "--predictions", tmp_path / "f.parquet",
        "--ledger", tmp_path / "l2.parquet",
    )  # fmt: skip
    assert set(FUNCTION_SCORES.read(tmp_path / "s.parquet")["classifier"]) == {"knn", "logistic", "shuffled"}
    shared = [gene for gene in genes if gene.startswith("m")]
    pd.DataFrame({"human": shared, "mouse": shared}).to_csv(tmp_path / "o.tsv", sep="\t", index=False)
    run(
        "compare_species", {"table": "o.tsv", "neighbours": 8, "resolution": 1.0},
        "--embedding", out / "embedding.h5ad", "--orthologues", tmp_path / "o.tsv", "--out", tmp_path / "o.parquet",
    )  # fmt: skip
    found = ORTHOLOGY.read(tmp_path / "o.parquet").set_index("measure")
    assert found.loc["rank", "value"] > found.loc["rank", "random"]


def test_a_file_of_another_kind_is_told(run, done, tmp_path):
    out = done[1]
    with pytest.raises(
        InputError, match="expected h5ad of format 'gene_graph_embedding' version 1, found 'gene_graph'"
    ):
        run(
            "find_modules", MODULE, "--embedding", out / "g0.h5ad", "--gene-embedding", tmp_path / "a",
            "--gene-vectors", tmp_path / "v", "--tissue-embedding", tmp_path / "b",
            "--modules", tmp_path / "c", "--neighbours", tmp_path / "d",
        )  # fmt: skip
