import copy
from dataclasses import replace

import pandas as pd
import pytest
from unit.report import fake_run
from unit.report.test_page import run_of

from histoweave.formats import genegraph
from histoweave.report.blocks import Text
from histoweave.report.genes import genes_section


def block(section, name):
    return next(block for block in section.blocks if getattr(block, "name", "") == name)


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def words(section):
    return " ".join(block.text for block in section.blocks if isinstance(block, Text))


@pytest.fixture
def run(root, results):
    return run_of(root, results)


def with_tables(run, settings=None, **tables):
    """The run with further tables and settings of genegraph."""
    config = copy.deepcopy(run.config)
    for section, values in (settings or {}).items():
        config["genegraph"][section] |= values
    return replace(run, tables={**run.tables, **tables}, config=config)


def test_modules_are_listed_by_size_with_some_genes(run):
    table = block(genes_section(run), "modules")
    assert [row[:2] for row in texts(table)] == [["0", "20"], ["1", "20"], ["2", "20"]]
    assert texts(table)[0][2].startswith("GENE0000, GENE0003")


def test_a_method_is_a_row_and_a_measure_a_column(run):
    table = block(genes_section(run), "graph-metrics")
    assert list(table.columns) == ["method", "held-out AUC", "ASW", "CGR"]
    assert texts(table)[0] == ["musegnn", "0.900 (0.850 to 0.950)", "0.600", "0.200"]
    assert "(one seed)" in table.caption


def test_the_text_counts_what_the_names_alone_win_in_this_run(run):
    told = words(genes_section(run))
    assert "names alone can top four of the six published measures" in told
    assert "'random_per_gene' is the best of all methods in 2 of 2 (ASW, CGR)" in told
    assert "at least as good as 'musegnn' in 2 of 2 (ASW, CGR)" in told


def test_our_variant_is_told_from_the_published_form(run):
    assert "'musegnn' is our variant: decoder 'bilinear', tie 0.9, length 1." in words(genes_section(run))
    published = with_tables(run, {"musegnn": {"decoder": "mlp"}})
    assert "our variant" not in words(genes_section(published))


GAINS = pd.DataFrame(
    [("pca", "held_out_auc", 0.2, 0.1, 0.3, 5), ("pca", "asw", -0.1, -0.3, 0.1, 5)],
    columns=["method", "metric", "difference", "lower", "upper", "seeds"],
)


def test_gains_stand_with_their_intervals_over_seeds(run):
    table = block(genes_section(with_tables(run, graph_comparisons=GAINS)), "graph-gains")
    assert texts(table)[0][:4] == ["pca", "0.200 (0.100 to 0.300)", "n/a", "-0.100 (-0.300 to 0.100)"]


def test_one_seed_has_no_table_of_gains(run):
    section = genes_section(with_tables(run, graph_comparisons=GAINS.assign(seeds=1)))
    assert "One seed gives no interval" in words(section)


TERMS = [
    {"module": "M01", "term": "FOUND", "overlap": 4, "q_value": 0.01, "found": True},
    {"module": "M02", "term": "MISSED", "overlap": 2, "q_value": 0.4, "found": False},
]
GMT = {"gene_sets": {"gmt": "sets.gmt"}}


def test_gene_sets_are_shown_where_the_config_names_them(run):
    table = fake_run.filled(genegraph.ENRICHMENT, TERMS)
    section = genes_section(with_tables(run, GMT, enrichment=table))
    assert [row[:2] for row in texts(block(section, "enrichment"))] == [["M01", "FOUND"]]
    assert list(block(section, "enrichment").rows_of) == [0]
    left_over = genes_section(with_tables(run, enrichment=table))  # of an earlier run with another config
    assert not any(getattr(block, "name", "") == "enrichment" for block in left_over.blocks)


def test_nothing_found_is_said(run):
    table = fake_run.filled(genegraph.ENRICHMENT, TERMS[1:])
    assert "(hypergeometric, q < 0.05): none was found." in words(
        genes_section(with_tables(run, GMT, enrichment=table))
    )


def test_long_tables_are_cut_and_say_so(run):
    rows = [{"gene": f"G{i}", "moved": 1 - i / 100, "lost_neighbours": 0.5} for i in range(30)]
    chosen = {"differential": {"first": ["healthy"], "second": ["sick"]}}
    table = fake_run.filled(genegraph.DIFFERENTIAL, rows)
    shown = block(genes_section(with_tables(run, chosen, differential=table)), "differential")
    assert shown.caption == "Genes that change most between healthy and sick (first 20 of 30)"
    assert texts(shown)[0] == ["G0", "1", "n/a", "n/a", "0.500", "n/a", "n/a"]


@pytest.mark.parametrize(
    ("settings", "name", "kind", "row", "shown"),
    [
        (
            {"gene_function": {"labels": "labels.tsv"}},
            "gene_function",
            genegraph.FUNCTION_SCORES,
            {"classifier": "knn", "label": "TF", "n_genes": 20, "auroc": 0.7, "average_precision": 0.5},
            ["knn", "TF", "20", "0.700", "0.500"],
        ),
        (
            {"orthology": {"table": "pairs.tsv"}},
            "orthology",
            genegraph.ORTHOLOGY,
            {"species_a": "human", "species_b": "mouse", "measure": "rank", "value": 0.8, "random": 0.5},
            ["human", "mouse", "rank", "0.800", "0.500"],
        ),
    ],
)
def test_other_uses_have_their_table(run, settings, name, kind, row, shown):
    section = genes_section(with_tables(run, settings, **{name: fake_run.filled(kind, [row])}))
    assert texts(block(section, name)) == [shown]
    assert "was not written by this run" in words(genes_section(with_tables(run, settings)))
