import numpy as np
import pytest
import torch

from histoweave.errors import InputError
from histoweave.survival import gene_encoders as encoders
from histoweave.survival.cox import cox_score
from histoweave.survival.losses import cox_loss
from histoweave.survival.scgpt import rank_bins

GENES = tuple(f"G{i}" for i in range(40))


def settings(**changes):
    base = {
        "kind": "genegraph",
        "values": "auto",
        "panel_genes": 16,
        "panel_by": "variance",
        "unknown_genes": "beside",
        "n_bins": 51,
        "clip_sd": 5.0,
        "token_dim": 4,
        "heads": 3,
        "scgpt": encoders.ScgptSettings(None, None, "panel", 1200, 2, 8, 0.6),
    }
    return encoders.EncoderSettings(**(base | changes))


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    return rng.negative_binomial(2, 0.1, size=(30, 40)).astype(float)


def fitted(expression, scale="counts", usable=None, markers=None, outcome=None, **changes):
    n = len(expression)
    return encoders.fit_input(
        expression,
        GENES,
        scale=scale,
        usable=usable,
        outcome=outcome or (np.arange(1.0, n + 1), np.ones(n)),
        markers=markers or {},
        settings=settings(**changes),
    )


# --- what a profile becomes


def test_rank_values_do_not_see_depth(counts):
    profile = fitted(counts)
    assert profile.values == "rank"
    np.testing.assert_array_equal(profile(counts, GENES), profile(7 * counts, GENES))


def test_rank_values_are_the_bins_within_the_panel(counts):
    profile = fitted(counts)
    columns = [GENES.index(gene) for gene in profile.genes]
    np.testing.assert_allclose(profile(counts, GENES), rank_bins(counts[:, columns], n_bins=51) / 50, rtol=1e-6)


def test_log2_tpm_gives_the_ranks_of_tpm(counts):
    logged = np.log2(counts + 0.001)
    tpm, log_tpm = (fitted(x, scale) for x, scale in ((counts, "tpm"), (logged, "log2_tpm")))
    same = encoders.ProfileInput(**(vars(log_tpm) | {"genes": tpm.genes}))
    np.testing.assert_array_equal(same(logged, GENES), tpm(counts, GENES))


def test_standardised_values_have_mean_zero_and_variance_one_in_the_training_part(counts):
    found = fitted(counts, values="standardised")(counts, GENES)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.15)


def test_a_new_patient_does_not_move_the_scaling(counts):
    profile = fitted(counts[:20], values="standardised")
    alone, together = profile(counts[20:21], GENES), profile(counts[20:], GENES)[:1]
    np.testing.assert_allclose(alone, together)


def test_z_scores_are_standardised_and_never_binned_in_silence(counts):
    z = (counts - counts.mean(0)) / counts.std(0)
    assert fitted(z, "zscore").values == "standardised"
    with pytest.raises(InputError, match="hold negative values.*'standardised'"):
        fitted(z, "zscore", values="rank")(z, GENES)


def test_heavy_tails_are_clipped(counts):
    z = (counts - counts.mean(0)) / counts.std(0)
    z[3, :] = 36_893
    found = fitted(z, "zscore")(z, GENES)
    assert np.abs(found).max() <= 5


def test_column_order_does_not_matter(counts):
    profile = fitted(counts)
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_array_equal(profile(counts[:, order], [GENES[i] for i in order]), profile(counts, GENES))


def test_state_restores_the_same_input(counts):
    profile = fitted(counts, values="standardised")
    again = encoders.ProfileInput.restored(*profile.state())
    np.testing.assert_array_equal(again(counts, GENES), profile(counts, GENES))


# --- the panel


def test_the_panel_holds_the_most_variable_usable_genes(counts):
    counts[:, 7] *= np.linspace(0.1, 30, 30)
    profile = fitted(counts, values="standardised", panel_genes=5)
    assert "G7" in profile.genes
    assert set(fitted(counts, usable=set(GENES[10:20])).genes) == set(GENES[10:20])


def test_half_of_the_panel_are_markers(counts):
    markers = {gene: 1.0 + i for i, gene in enumerate(GENES[:10])}
    found = fitted(counts, markers=markers, panel_genes=8).genes
    assert set(GENES[6:10]) <= set(found)
    assert len(found) == 8


def test_constant_genes_never_enter(counts):
    counts[:, 3] = 0
    assert "G3" not in fitted(counts, panel_genes=40).genes


def test_the_cox_score_finds_the_gene_that_decides(counts):
    time = np.exp(-counts[:, 11] / 10)
    profile = fitted(counts, outcome=(time, np.ones(30)), panel_by="cox", panel_genes=8)
    assert "G11" in profile.genes


def test_by_itself_the_panel_goes_by_variance_but_for_z_scores(counts):
    time = np.exp(-counts[:, 11] / 10)
    scores = (counts - counts.mean(axis=0)) / counts.std(axis=0)
    for scale, values, by in (("counts", counts, "variance"), ("zscore", scores, "cox")):
        given = {"scale": scale, "outcome": (time, np.ones(30)), "panel_genes": 8}
        assert fitted(values, **given, panel_by="auto").genes == fitted(values, **given, panel_by=by).genes


def test_two_panels_beside_each_other_give_the_values_of_both(counts):
    own = {"values": "standardised", "panel_genes": 6}
    first, second = (fitted(counts, usable=set(part), **own) for part in (GENES[:20], GENES[20:]))
    both = first.beside(second)
    assert both.genes == first.genes + second.genes
    expected = np.concatenate([first(counts, GENES), second(counts, GENES)], axis=1)
    np.testing.assert_array_equal(both(counts, GENES), expected)


def test_the_cox_score_does_not_see_the_sign_or_scale_of_a_gene(counts):
    time, event = np.arange(1.0, 31), np.arange(30) % 2
    plain = cox_score(counts, time, event)
    np.testing.assert_allclose(cox_score(-3 * counts + 5, time, event), plain)


def test_the_cox_score_is_slope_over_root_of_curvature_of_the_likelihood(counts):
    time, event = np.random.default_rng(1).permutation(30) + 1.0, np.arange(30) % 3 > 0
    targets = torch.as_tensor(time), torch.as_tensor(event)

    def log_likelihood(effect, column):
        loss = cox_loss(effect * torch.as_tensor(counts[:, column]), *targets, ties="breslow")
        return -event.sum() * loss

    for column, found in enumerate(cox_score(counts, time, event)):
        zero = torch.zeros((), dtype=torch.float64)
        slope = torch.func.grad(log_likelihood)(zero, column)
        curvature = torch.func.grad(torch.func.grad(log_likelihood))(zero, column)
        assert found == pytest.approx(abs(float(slope)) / float(-curvature) ** 0.5, rel=1e-6)


# --- bad input


@pytest.mark.parametrize(
    ("value", "scale", "message"),
    [
        (np.nan, "counts", r"1 of 40 genes have missing expression: 'G5'"),
        (np.inf, "zscore", r"1 of 40 genes have missing expression: 'G5'"),
        (-1.0, "counts", r"1 of 40 genes have negative expression \('G5'\), which 'counts' cannot have"),
        (-1.0, "tpm", r"1 of 40 genes have negative expression"),
    ],
)
def test_expression_that_cannot_be_is_refused(counts, value, scale, message):
    counts[4, 5] = value
    with pytest.raises(InputError, match=message):
        fitted(counts, scale)


def test_a_table_without_the_models_genes_is_refused(counts):
    profile = fitted(counts)
    with pytest.raises(InputError, match=r"of 16 genes that the model uses are not in the expression table"):
        profile(counts[:, :5], GENES[:5])


def test_no_gene_in_common_is_refused(counts):
    with pytest.raises(InputError, match="none of the 40 genes.*can be used"):
        fitted(counts, usable={"ENSG1"})


# --- the genegraph encoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    vectors = np.random.default_rng(0).normal(size=(12, 6))
    return encoders.GeneGraphEncoder(vectors, dim=4, heads=3)


def test_pooling_equals_attention_over_whole_tokens(encoder):
    values = torch.rand(5, 12)
    hidden = torch.tanh(encoder.value_in(values[..., None]))
    tokens = encoder.gene(encoder.vectors) + encoder.value_out(hidden)  # W_e e_g + MLP(v_g)
    scores = encoder.query(torch.tanh(encoder.key(encoder.vectors))) + encoder.value_query(hidden)
    weights = torch.softmax(scores, dim=1)
    direct = torch.einsum("sgh,sgd->shd", weights, tokens).flatten(1)
    torch.testing.assert_close(encoder(values), direct)


def test_genes_without_a_vector_pass_beside_the_tokens(encoder):
    wider = encoders.GeneGraphEncoder(encoder.vectors.numpy(), dim=4, heads=3, beside=2)
    wider.load_state_dict(encoder.state_dict())
    values = torch.rand(5, 14)
    assert wider.width == encoder.width + 2
    expected = torch.cat([encoder(values[:, :12]), values[:, 12:]], dim=1)
    torch.testing.assert_close(wider(values), expected)


def test_the_order_of_genes_does_not_matter(encoder):
    values, order = torch.rand(5, 12), torch.randperm(12)
    plain = encoder(values)
    encoder.vectors.copy_(encoder.vectors[order])
    torch.testing.assert_close(encoder(values[:, order]), plain)


def test_gene_vectors_are_not_trained(encoder):
    assert "vectors" not in dict(encoder.named_parameters())
    assert "vectors" in encoder.state_dict()


def test_heads_start_at_different_groups_of_genes():
    centres = np.repeat(np.eye(3) * 10, 4, axis=0)
    vectors = centres + np.random.default_rng(0).normal(size=(12, 3)) * 0.1
    torch.manual_seed(0)
    encoder = encoders.GeneGraphEncoder(vectors, dim=8, heads=3)
    encoder.start_at_groups(sharpness=6.0, seed=0)
    weights = torch.softmax(encoder.query(torch.tanh(encoder.key(encoder.vectors))), dim=0)  # (gene, head)
    share = weights.detach().reshape(3, 4, 3).sum(dim=1)  # (group, head)
    assert sorted(share.argmax(dim=0).tolist()) == [0, 1, 2]
    assert share.max(dim=0).values.min() > 0.8


def test_panel_vectors_are_standardised_and_flat_dimensions_vanish():
    rng = np.random.default_rng(0)
    embedding = {gene: np.append(rng.normal(3, 2, size=5), 1.0) for gene in GENES}
    found = encoders.panel_vectors(embedding, GENES)
    np.testing.assert_allclose(found[:, :5].std(axis=0), 1, atol=1e-5)
    assert (found[:, 5] == 0).all()
