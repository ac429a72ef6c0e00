import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.survival.covariates import CovariateScale
from histoweave.survival.profiles import ProfileScale, comparable

GENES = ("a", "b", "c", "d")


def fitted(values, scale="zscore", **changes):
    options = {"n_genes": 0, "clip": 10.0, **changes}
    return ProfileScale.fitted(np.asarray(values, dtype=float), GENES, scale, **options)


def draw(n=30, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 4)) * [1, 2, 3, 0]


def test_depth_does_not_matter_for_counts_and_tpm():
    counts = np.random.default_rng(0).poisson(50, (5, 4)).astype(float)
    for scale in ("counts", "tpm"):
        np.testing.assert_allclose(comparable(counts * [[1], [2], [3], [4], [5]], scale), comparable(counts, scale))
    assert comparable(counts, "log2_tpm") is not None
    np.testing.assert_array_equal(comparable(counts, "zscore"), counts)


def test_training_patients_are_standardised_and_constant_genes_dropped():
    values = draw()
    scale = fitted(values)
    assert scale.genes == ("a", "b", "c")
    made = scale(values, GENES, "zscore")
    np.testing.assert_allclose(made.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(made.std(axis=0), 1)


def test_most_variable_genes_are_kept_in_order():
    assert fitted(draw(), n_genes=2).genes == ("b", "c")
    assert fitted(draw(), n_genes=2, only=frozenset("ab")).genes == ("a", "b")


def test_an_outlier_moves_nothing_beyond_the_clip():
    values = draw()
    values[0, 0] = 36893.0
    scale = fitted(values, clip=5.0)
    assert np.abs(scale(values, GENES, "zscore")).max() <= 5.0
    assert scale.sd[0] < 3


def test_patients_without_profile_are_not_used_and_stay_nan():
    values = draw()
    values[3] = np.nan
    scale = fitted(values)
    made = scale(values, GENES, "zscore")
    assert np.isnan(made[3]).all()
    assert np.isfinite(np.delete(made, 3, axis=0)).all()


def test_columns_are_matched_by_name():
    values = draw()
    scale = fitted(values)
    order = [2, 0, 3, 1]
    shuffled = tuple(GENES[i] for i in order)
    np.testing.assert_array_equal(scale(values[:, order], shuffled, "zscore"), scale(values, GENES, "zscore"))


def test_missing_genes_and_other_scales_are_refused():
    scale = fitted(draw())
    with pytest.raises(InputError, match=r"1 of the model's 3 genes are not .*'c'"):
        scale(draw()[:, :2], ("a", "b"), "zscore")
    with pytest.raises(InputError, match="given as 'tpm', fitted on 'zscore'"):
        scale(draw(), GENES, "tpm")


def test_nobody_with_a_profile_and_nothing_that_varies():
    with pytest.raises(InputError, match="no training patient has an expression profile"):
        fitted(np.full((3, 4), np.nan))
    with pytest.raises(InputError, match="no gene varies"):
        fitted(np.ones((3, 4)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("scale", ["counts", "zscore"])
def test_genes_with_gaps_are_named_in_training_and_in_prediction(value, scale):
    whole = np.random.default_rng(0).poisson(20, size=(6, 3)) / 10
    gappy = whole.copy()
    gappy[4, 1] = value
    genes, told = ("A", "B", "C"), r"1 of 3 genes have missing or infinite expression \(first: gene 'B' in profile 4\)"
    with pytest.raises(InputError, match=told):
        ProfileScale.fitted(gappy, genes, scale, n_genes=0, clip=5.0)
    fitted = ProfileScale.fitted(whole, genes, scale, n_genes=0, clip=5.0)
    with pytest.raises(InputError, match=told):
        fitted(gappy, genes, scale)


def test_profile_state_restores():
    scale = fitted(draw())
    again = ProfileScale.restored(*scale.state("x"), "x")
    np.testing.assert_array_equal(scale(draw(seed=1), GENES, "zscore"), again(draw(seed=1), GENES, "zscore"))


def people():
    return pd.DataFrame({"age": [40.0, 60, np.nan, 80], "sex": ["f", "m", "f", None], "flat": [1.0, 1, 1, 1]})


def test_covariates_are_scaled_and_levels_spread():
    scale = CovariateScale.fitted(people())
    assert scale.columns == ["age", "sex=m"]
    made = scale(people())
    assert made[2, 0] == made[1, 0]
    assert made[:, 1].tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(made[:, 0].mean(), 0, atol=1e-12)


def test_unknown_levels_and_restored_scale():
    scale = CovariateScale.restored(CovariateScale.fitted(people()).state())
    new = pd.DataFrame({"age": [50.0], "sex": ["other"], "flat": [2.0]})
    assert scale(new)[0, 1] == 0


def test_covariates_that_say_nothing_or_are_missing():
    with pytest.raises(InputError, match="no clinical covariate varies"):
        CovariateScale.fitted(people()[["flat"]])
    with pytest.raises(InputError, match="no column 'sex'"):
        CovariateScale.fitted(people())(people()[["age"]])
