import numpy as np
import pandas as pd
import pytest
from scipy import stats

from histoweave.expression.blocks import InMemory
from histoweave.expression.davies import davies_tail
from histoweave.expression.sparkx import sparkx


@pytest.mark.parametrize("weights", ["1;1", "0.5;0.5", "0.93;0.93", "0.05;0.05", "1;1;1", "0.8;0.8;0.8", "1"])
def test_tail_equals_compquadform_for_equal_weights(weights, golden):
    table = golden("units/unit_davies_liu").loc[weights]
    table = table[table["ifault"] == 0]
    each = [float(value) for value in weights.split(";")]
    expected = np.where(table["davies"] > 0, table["davies"], table["liu"])
    np.testing.assert_allclose(davies_tail(table["q"].to_numpy() / each[0], len(each)), expected, atol=1e-9)


@pytest.mark.parametrize("rank", [2, 3])
def test_tail_is_off_the_exact_one_by_less_than_asked_for(rank):
    ratio = np.linspace(0.01, 60, 500)
    np.testing.assert_allclose(davies_tail(ratio, rank), stats.chi2.sf(ratio, rank), atol=1e-4)


def test_tests_do_not_influence_each_other():
    ratio = np.array([0.5, 30.0, 4.0])
    np.testing.assert_allclose(davies_tail(ratio, 2), [davies_tail(ratio[[i]], 2)[0] for i in range(3)], atol=1e-15)
    assert davies_tail(np.zeros(0), 2).shape == (0,)


@pytest.mark.parametrize("name", ["mixture", "covar", "3d"])
def test_spatial_genes_equal_the_r_package(name, golden, synth_b):
    counts, coords, covariates, names = synth_b
    if name == "3d":
        coords = np.column_stack([coords, (coords[:, 0] * coords[:, 1]) % 97])
    expected = golden(f"sparkx/sparkx_synthB_{name}")
    table = sparkx(
        InMemory(counts, cells=None),
        coords,
        option="mixture",
        pvalue="davies",
        rank_deficient="drop",
        covariates=covariates if name == "covar" else None,
        depth=None,
    ).table.iloc[pd.Index(names).get_indexer(expected.index)]
    kernels = [c for c in table if c.startswith("p_") and c != "p_value"]
    np.testing.assert_allclose(table[kernels], expected[[c for c in expected if c.startswith("p_")]], atol=1e-9)
    np.testing.assert_allclose(table["p_value"], expected["combinedPval"], atol=1e-9)
    np.testing.assert_allclose(table["q_value"], expected["adjustedPval"], atol=1e-9)
