"""Over-representation against gseapy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, fisher_exact

from histoweave.genegraph.enrichment import benjamini_hochberg, enrich

GENES = np.array([f"g{i}" for i in range(60)])
MODULES = pd.DataFrame({"gene": GENES, "module": np.repeat(["M01", "M02", "none"], [25, 20, 15])})


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return {
        "planted": np.r_[np.arange(10), [30, 50]],
        "random": np.sort(rng.choice(60, 12, replace=False)),
        "elsewhere": np.arange(46, 52),
    }


def test_p_values_are_fishers(sets):
    found = enrich(MODULES, sets)
    for row in found.itertuples():
        member = (MODULES["module"] == row.module).to_numpy()
        term = np.isin(np.arange(60), sets[row.term])
        table = [[(member & term).sum(), (member & ~term).sum()], [(~member & term).sum(), (~member & ~term).sum()]]
        assert row.p_value == pytest.approx(fisher_exact(table, alternative="greater").pvalue)
        assert row.overlap == len(row.genes.split())
        assert row.rich_factor == pytest.approx(row.overlap / len(sets[row.term]))


def test_agrees_with_gseapy(sets):
    gseapy = pytest.importorskip("gseapy")
    found = enrich(MODULES, sets).set_index(["module", "term"])
    library = {name: GENES[place].tolist() for name, place in sets.items()}
    for module in ("M01", "M02"):
        chosen = MODULES.loc[MODULES["module"] == module, "gene"].tolist()
        theirs = gseapy.enrich(gene_list=chosen, gene_sets=library, background=GENES.tolist(), outdir=None).results
        for row in theirs.itertuples():
            assert found.loc[(module, row.Term), "p_value"] == pytest.approx(
                row[list(theirs.columns).index("P-value") + 1]
            )


def test_the_planted_set_comes_first(sets):
    best = enrich(MODULES, sets).iloc[0]
    assert (best["module"], best["term"], best["overlap"]) == ("M01", "planted", 10)
    assert best["fold"] == pytest.approx(10 * 60 / (25 * 12))
    assert best["q_value"] < 0.05


def test_all_tests_count_for_the_correction(sets):
    found = enrich(MODULES, sets)
    best = found.iloc[0]
    assert best["q_value"] == pytest.approx(min(1, best["p_value"] * 2 * len(sets)))
    assert not (found["module"] == "none").any()


def test_benjamini_hochberg_is_scipys():
    p = np.random.default_rng(0).random(50) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))


def test_no_module_gives_an_empty_table(sets):
    assert len(enrich(MODULES.assign(module="none"), sets)) == 0
