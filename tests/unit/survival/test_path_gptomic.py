import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from histoweave.errors import InputError
from histoweave.survival import path_gptomic
from histoweave.survival.attribution import integrated_gradients
from histoweave.survival.concordance import concordance
from histoweave.survival.gene_encoders import EncoderSettings, ScgptSettings
from histoweave.survival.interface import Cells, Context, Patients
from histoweave.survival.losses import cox_loss
from histoweave.survival.modulation import RULES, BalanceSettings
from histoweave.survival.path_gptomic_network import NetworkSettings
from histoweave.survival.regulation import RegulationSettings
from histoweave.survival.train import TrainSettings

GENES = tuple(f"G{i}" for i in range(24))
HORIZONS = (200.0, 800.0)
SCGPT = ScgptSettings(None, None, "panel", 1200, 2, 8, 0.6)


def settings(modalities=("slide", "gene"), fusion="concat", members=1, **changes):
    parts = {
        "encoder": EncoderSettings("genegraph", "auto", 16, "variance", "beside", 51, 5.0, 4, 4, SCGPT),
        "regulation": RegulationSettings("auto", "pairs", 5, 1.0, 60, 0.25, 8, 2, 1, 0.0, 2, 0.002, 32, freeze=False),
        "balance": BalanceSettings("none", 1.0, 0.9, 1, 0, 1.0, 1.5, 2, 1.0),
        "network": NetworkSettings(8, 2, 4, 0.1, 5.0),
        "training": TrainSettings(
            6, 0, "c_index", 0.01, 0.01, 5.0, 32, 0, 4096, "event_balanced", mixed_precision=False
        ),
    }
    parts = {name: replace(part, **changes.get(name, {})) for name, part in parts.items()}
    return path_gptomic.PathGptomicSettings(
        modalities=modalities,
        alterations=True,
        alteration_panel=64,
        fusion=fusion,
        ties="efron",
        members=members,
        **parts,
    )


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    trait, programme = rng.normal(size=(2, 80))
    hazard = np.exp(1.2 * trait + 1.2 * programme)
    time, censoring = rng.exponential(500 / hazard), rng.exponential(1500, size=80)
    loading = np.where(np.arange(24) < 8, 0.8, 0.0)
    counts = rng.poisson(np.exp(3 + rng.normal(size=24) * 0.2 + programme[:, None] * loading)).astype(float)
    bags = [rng.normal(size=(6 + k % 4, 5)).astype(np.float32) + np.float32(t) for k, t in enumerate(trait)]
    return Patients(
        ids=tuple(f"P{k}" for k in range(80)),
        time_days=np.minimum(time, censoring) + 1,
        event=(time <= censoring).astype(int),
        bags=bags,
        feature_names=tuple("abcde"),
        expression=counts,
        genes=GENES,
        expression_scale="counts",
        clinical=pd.DataFrame(index=range(80)),
    )


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(1)
    mean = np.where(np.arange(24)[None] // 12 == np.arange(2)[:, None], 20.0, 2.0)
    kind = np.repeat([0, 1], 20)
    return Cells(rng.poisson(mean[kind]).astype(float), GENES, np.array(["T cell", "Tumour cell"])[kind])


def context(**more):
    rng = np.random.default_rng(2)
    vectors = {gene: rng.normal(size=6) + 3 * (k < 8) for k, gene in enumerate(GENES)}
    return Context(seed=3, names=("model", "0", "0"), gene_embedding=vectors, **more)


def fit(cohort, own=None, where=None):
    return path_gptomic.fit(
        cohort.subset(range(50)), cohort.subset(range(50, 64)), settings=own or settings(), context=where or context()
    )


def without(cohort, what, rows):
    rows = set(rows)
    if what == "slide":
        return replace(cohort, bags=[None if k in rows else bag for k, bag in enumerate(cohort.bags)])
    expression = cohort.expression.copy()
    expression[sorted(rows)] = np.nan
    return replace(cohort, expression=expression)


# --- learning


def test_both_modalities_predict_test_patients(cohort):
    own = settings(training={"epochs": 40})
    test = cohort.subset(range(64, 80))
    found = fit(cohort, own).predict(test, HORIZONS)
    assert concordance(test.time_days, test.event, found.risk) > 0.7
    assert found.survival.shape == (16, 2)
    assert ((found.survival >= 0) & (found.survival <= 1)).all()
    assert (found.survival[:, 0] >= found.survival[:, 1]).all()


@pytest.mark.parametrize("fusion", ["concat", "kronecker", "gated"])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_trains_with_every_fusion(cohort, fusion, rule):
    fitted = fit(cohort, settings(fusion=fusion, balance={"rule": rule}))
    quantities = {row["quantity"] for row in fitted.history}
    assert {"loss", "c_index_gene", "c_index_slide"} <= quantities
    assert ("coefficient_gene" in quantities) == rule.startswith("ogm_cox")
    assert ("pull_gene" in quantities) == (rule == "relearn")
    assert np.isfinite(fitted.predict(cohort, HORIZONS).risk).all()


@pytest.mark.parametrize("modality", ["slide", "gene"])
def test_one_modality_alone_needs_nothing_of_the_other(cohort, modality):
    other = "gene" if modality == "slide" else "slide"
    bare = without(cohort, other, range(80))
    found = fit(bare, settings(modalities=(modality,))).predict(bare, HORIZONS)
    assert np.isfinite(found.risk).all()
    assert found.risk.std() > 0


def test_the_same_seed_gives_the_same_risks(cohort):
    one, other = (fit(cohort).predict(cohort, HORIZONS).risk for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_members_are_different_networks_and_their_mean_is_the_risk(cohort):
    fitted = fit(cohort, settings(members=2))
    both = fitted.predict(cohort, HORIZONS)
    alone = [
        replace(fitted, networks=(n,), baselines=(b,)).predict(cohort, HORIZONS)
        for n, b in zip(fitted.networks, fitted.baselines, strict=True)
    ]
    assert not np.allclose(alone[0].risk, alone[1].risk)
    np.testing.assert_allclose(both.risk, (alone[0].risk + alone[1].risk) / 2)


def test_the_mean_curve_ends_where_the_first_member_does():
    rows = [{"epoch": e, "part": "train", "quantity": "loss", "value": float(e)} for e in (1, 2, 3)]
    found = path_gptomic.mean_history([rows, [row | {"value": 9.0} for row in rows[:2]]])
    assert [(row["epoch"], row["value"]) for row in found] == [(1, 5.0), (2, 5.5)]


def test_z_scores_are_taken_as_they_are(cohort):
    z = (cohort.expression - cohort.expression.mean(0)) / cohort.expression.std(0)
    fitted = fit(replace(cohort, expression=z, expression_scale="zscore"))
    assert fitted.inputs.profile.values == "standardised"


# --- balance reaches what it should


def grown(cohort, rule, fusion="concat", rows=range(50)):
    """Network and outputs of one batch of `rows` under `rule`."""
    own = settings(fusion=fusion, balance={"rule": rule}, network={"dropout": 0.0})
    train = cohort.subset(range(50))
    inputs, regulated, (panel,) = path_gptomic.fit_inputs([train], own, context())
    network = path_gptomic.make_network(own, inputs, regulated, context(), train=train, panel=panel)
    source = inputs.source(train, device="cpu")
    batch = source.batch(rows)
    return network, network(batch), batch


def gradient(loss, weights):
    found = torch.autograd.grad(loss, list(weights), retain_graph=True, allow_unused=True)
    return sum(0.0 if g is None else float(g.abs().sum()) for g in found)


@pytest.mark.parametrize("fusion", ["kronecker", "gated"])
@pytest.mark.parametrize("rule", ["none", "ogm_cox_geo", "relearn"])
def test_heads_beside_the_fusion_do_not_reach_the_branches(cohort, rule, fusion):
    network, outputs, batch = grown(cohort, rule, fusion)
    own = path_gptomic.own_losses(outputs, batch, ties="efron")
    assert gradient(own, network.mlp_b.parameters()) == 0
    assert gradient(own, network.head("gene").parameters()) > 0


@pytest.mark.parametrize("fusion", ["concat", "kronecker"])
def test_detached_fusion_leaves_the_branches_to_their_own_losses(cohort, fusion):
    network, outputs, batch = grown(cohort, "dgl", fusion)
    fused = path_gptomic.fused_loss(outputs, batch, ties="efron")
    assert gradient(fused, network.pooling.parameters()) == 0
    own = path_gptomic.own_losses(outputs, batch, ties="efron")
    assert gradient(own, network.pooling.parameters()) > 0


def test_a_linear_fusion_is_the_sum_of_the_branches_own_risks(cohort):
    _, outputs, _ = grown(cohort, "none")
    torch.testing.assert_close(outputs["fused"], outputs["gene"] + outputs["slide"])


@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_every_weight_belongs_to_one_branch_or_the_fusion(cohort, fusion):
    network, _, _ = grown(cohort, "none", fusion)
    owned = [id(w) for weights in network.branches().values() for w in weights]
    fused = [] if fusion == "concat" else [id(w) for w in network.fusion.parameters()]
    assert len(owned + fused) == len({*owned, *fused}) == len(list(network.parameters()))


# --- missing modalities


def test_patients_with_one_modality_are_trained_on_and_predicted(cohort):
    partial = without(without(cohort, "slide", range(0, 80, 5)), "gene", range(1, 80, 5))
    found = fit(partial).predict(partial, HORIZONS)
    assert np.isfinite(found.risk).all()
    assert np.isnan(found.more["risk_slide"][::5]).all()
    assert np.isnan(found.more["risk_gene"][1::5]).all()
    np.testing.assert_array_equal(found.risk[::5], found.more["risk_gene"][::5])
    np.testing.assert_array_equal(found.risk[1::5], found.more["risk_slide"][1::5])


def test_patients_with_one_modality_are_a_stratum_of_their_own(cohort):
    only_slide, only_gene, both = (np.arange(start, 50, 3) for start in range(3))
    partial = without(without(cohort, "gene", only_slide), "slide", only_gene)
    _, outputs, batch = grown(partial, "none")
    found = path_gptomic.fused_loss(outputs, batch, ties="efron")
    wanted = 0.0
    for rows, kind in ((only_slide, "slide"), (only_gene, "gene"), (both, "fused")):
        own = cox_loss(outputs[kind][rows], batch.time_days[rows], batch.event[rows], ties="efron")
        wanted += own.item() * float(batch.event[rows].sum())
    assert found.item() == pytest.approx(wanted / float(batch.event.sum()), rel=1e-5)


@pytest.mark.parametrize("fusion", ["concat", "kronecker"])
@pytest.mark.parametrize("missing", ["gene", "slide"])
def test_patients_with_one_modality_teach_its_branch_alone(cohort, missing, fusion):
    network, outputs, batch = grown(without(cohort, missing, range(20)), "none", fusion, rows=range(20))
    loss = path_gptomic.fused_loss(outputs, batch, ties="efron")
    branches = network.branches()
    present = "slide" if missing == "gene" else "gene"
    assert gradient(loss, branches[present]) > 0
    assert gradient(loss, branches[missing]) == 0


def test_a_missing_modality_changes_nothing_for_the_others(cohort):
    fitted = fit(cohort)
    whole = fitted.predict(cohort, HORIZONS).risk
    partial = fitted.predict(without(cohort, "slide", [3]), HORIZONS).risk
    np.testing.assert_allclose(np.delete(partial, 3), np.delete(whole, 3), atol=1e-6)


def test_patients_with_nothing_are_refused_by_name(cohort):
    fitted = fit(cohort)
    bare = without(without(cohort, "slide", [7]), "gene", [7])
    with pytest.raises(InputError, match="1 of 80 patients have no .*'P7'"):
        fitted.predict(bare, HORIZONS)


def test_attention_is_one_share_per_tile(cohort):
    found = fit(cohort, settings(members=2)).attention(without(cohort, "slide", [1]))
    assert [len(shares) for shares in found[:3]] == [6, 0, 8]
    assert found[0].sum() == pytest.approx(1, abs=1e-5)


# --- stage 1, alterations, bundles


@pytest.mark.parametrize("freeze", [True, False])
def test_stage_one_gives_proportions_and_its_report(cohort, cells, freeze):
    fitted = fit(cohort, settings(regulation={"freeze": freeze}), context(cells=cells))
    found = fitted.predict(cohort, HORIZONS)
    shares = np.stack([found.more["proportion_T cell"], found.more["proportion_Tumour cell"]])
    np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=1e-5)
    assert {"error_regulated", "error_unregulated"} <= {row["quantity"] for row in fitted.history}
    assert (fitted.inputs.frozen is not None) == freeze
    if freeze:
        assert not any(name.startswith("genomic") for name in fitted.networks[0].state_dict())


def test_alterations_enter_the_gene_branch(cohort):
    rng = np.random.default_rng(0)
    altered = replace(
        cohort,
        alterations=rng.integers(-2, 3, size=(80, 7)).astype(float),
        alteration_names=tuple(f"G{k}_cnv" for k in range(7)),
    )
    fitted = fit(altered)
    plain = fitted.predict(altered, HORIZONS).risk
    changed = fitted.predict(replace(altered, alterations=-altered.alterations), HORIZONS).risk
    assert np.abs(plain - changed).max() > 1e-3
    without = fit(altered, replace(settings(), alterations=False))
    assert without.networks[0].alterations is None
    unknown = replace(altered, alterations=np.full((80, 7), np.nan))
    assert np.isfinite(fitted.predict(unknown, HORIZONS).risk).all()


def test_alterations_keep_to_their_panel(cohort):
    changes = np.random.default_rng(0).integers(-2, 3, size=(80, 7)).astype(float)
    altered = replace(cohort, alterations=changes, alteration_names=tuple(f"G{k}_cnv" for k in range(7)))
    fitted = fit(altered, replace(settings(), alteration_panel=3))
    assert len(fitted.inputs.alterations.names) == 3
    again = path_gptomic.restore(*fitted.state())
    np.testing.assert_array_equal(again.predict(altered, HORIZONS).risk, fitted.predict(altered, HORIZONS).risk)


@pytest.mark.parametrize("staged", [True, False])
def test_depth_of_the_projection_with_and_without_stage_one(cohort, cells, staged):
    own = settings(regulation={"layers": 3, "fresh_layers": 1, "use": "auto" if staged else "never"})
    fitted = fit(cohort, own, context(cells=cells))
    linear = [layer for layer in fitted.networks[0].genomic.mlp_a if isinstance(layer, torch.nn.Linear)]
    assert len(linear) == (3 if staged else 1)
    again = path_gptomic.restore(*fitted.state())
    np.testing.assert_array_equal(again.predict(cohort, HORIZONS).risk, fitted.predict(cohort, HORIZONS).risk)


@pytest.mark.parametrize("freeze", [True, False])
def test_a_bundle_restores_the_same_predictions(cohort, cells, freeze):
    changes = np.random.default_rng(0).integers(0, 2, size=(80, 2)).astype(float)
    altered = replace(cohort, alterations=changes, alteration_names=("G1_cnv", "G2_mut"))
    fitted = fit(altered, settings(members=2, regulation={"freeze": freeze}), context(cells=cells))
    tensors, meta = fitted.state()
    assert all(isinstance(array, np.ndarray) for array in tensors.values())
    again = path_gptomic.restore(tensors, json.loads(json.dumps(meta)))
    wanted, found = (model.predict(altered, HORIZONS) for model in (fitted, again))
    np.testing.assert_array_equal(found.risk, wanted.risk)
    np.testing.assert_array_equal(found.survival, wanted.survival)
    assert found.more.keys() == wanted.more.keys()


def test_a_bundle_of_one_modality_restores(cohort):
    fitted = fit(cohort, settings(modalities=("gene",), encoder={"kind": "raw"}))
    again = path_gptomic.restore(*fitted.state())
    np.testing.assert_array_equal(again.predict(cohort, HORIZONS).risk, fitted.predict(cohort, HORIZONS).risk)


def test_genes_that_the_gene_graphs_lack_tell_of_risk_where_they_may(cohort):
    vectors = context().gene_embedding
    known = {gene: vectors[gene] for gene in GENES[12:]}  # none that tells
    found = {}
    for unknown in ("beside", "left_out"):
        encoder = {"unknown_genes": unknown, "panel_genes": 12}
        own = settings(modalities=("gene",), encoder=encoder, training={"epochs": 40})
        fitted = fit(cohort, own, replace(context(), gene_embedding=known))
        risk = fitted.predict(cohort, HORIZONS).risk
        again = path_gptomic.restore(*fitted.state())
        np.testing.assert_array_equal(again.predict(cohort, HORIZONS).risk, risk)
        found[unknown] = len(fitted.inputs.profile.genes), concordance(cohort.time_days, cohort.event, risk)
    assert (found["beside"][0], found["left_out"][0]) == (24, 12)
    assert found["beside"][1] > found["left_out"][1] + 0.05


@pytest.mark.parametrize("staged", [True, False])
def test_a_scgpt_checkpoint_takes_the_place_of_the_gene_graphs(cohort, cells, staged):
    folder = Path(__file__).parents[2] / "golden" / "scgpt" / "ckpt_wqkv"
    symbols = [name for name in json.loads((folder / "vocab.json").read_text()) if not name.startswith("<")][:24]
    named = replace(cohort, genes=tuple(symbols))
    own = settings(encoder={"kind": "scgpt", "scgpt": replace(SCGPT, checkpoint=str(folder), most_tokens=16)})
    more = {"cells": replace(cells, genes=tuple(symbols))} if staged else {}
    fitted = fit(named, own, replace(context(), gene_embedding=None, **more))
    found = fitted.predict(named, HORIZONS)
    assert np.isfinite(found.risk).all()
    assert ("proportion_T cell" in found.more) == staged
    again = path_gptomic.restore(*fitted.state())
    np.testing.assert_allclose(again.predict(named, HORIZONS).risk, found.risk, atol=1e-6)


# --- what cannot be fitted


def test_all_censored_is_refused(cohort):
    with pytest.raises(InputError, match="none of the 50 training patients had an event"):
        fit(replace(cohort, event=np.zeros(80, dtype=int)))


def test_stage_one_without_cells_is_refused_where_it_must_run(cohort):
    with pytest.raises(InputError, match="needs annotated single cells, and no dataset has cell types.*'never'"):
        fit(cohort, settings(regulation={"use": "always"}))


def test_the_genegraph_encoder_needs_gene_vectors(cohort):
    with pytest.raises(InputError, match="needs gene vectors.*'raw'"):
        fit(cohort, where=replace(context(), gene_embedding=None))


def test_missing_expression_values_are_refused(cohort):
    expression = cohort.expression.copy()
    expression[2, 4] = np.nan
    with pytest.raises(InputError, match="1 of 24 genes have missing expression: 'G4'"):
        fit(replace(cohort, expression=expression))


def test_nobody_with_expression_is_refused(cohort):
    with pytest.raises(InputError, match=r"none of the training patients has expression.*modalities to \[slide\]"):
        fit(without(cohort, "gene", range(80)))


# --- explaining


@pytest.mark.parametrize("frozen", [False, True])
def test_it_is_explained_by_its_genes_also_through_a_frozen_encoder(cohort, cells, frozen):
    own = settings(members=2, regulation={"use": "always", "freeze": frozen})
    fitted = fit(cohort, own, context(cells=cells))
    part = cohort.subset(range(4))
    networks, source, names = fitted.explained(part)
    assert set(names["gene"]) <= set(GENES)
    assert source.vectors["gene"].shape == (4, len(names["gene"]))
    plain, batch = fitted.source(part), [0, 1, 2, 3]
    assert (plain.vectors["gene"].shape[1] == len(names["gene"])) != frozen
    for network, explained in zip(fitted.networks, networks, strict=True):
        with torch.no_grad():
            ours, theirs = explained(source.batch(batch))["risk"], network.eval()(plain.batch(batch))["risk"]
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    for network in networks:
        made = integrated_gradients(network, source.batch([0]), inputs=["gene"], steps=2048)
        assert abs(made.gap) < 0.005 * np.abs(made.vectors["gene"]).sum()
