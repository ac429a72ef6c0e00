"""Attributions with their names, sums over gene groups, and the null of permuted follow-up."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from unit.survival.people import make_patients, training
from unit.survival.test_models import CASES, GROUPS

from histoweave.steps_explain import attribution_rows, null_rows
from histoweave.survival import registry
from histoweave.survival.attribution import (
    ExplainSettings,
    group_gradients,
    group_sums,
    null_p_value,
    permuted_follow_up,
)
from histoweave.survival.bags import Batch
from histoweave.survival.ghanet import Ghanet, GhanetShape
from histoweave.survival.interface import Context

EXPLAIN = ExplainSettings(models=None, patients=12, tiles=50, steps=16, null_fits=0)


def fitted(model, people, *names):
    settings = CASES[model][0]
    if hasattr(settings, "training"):
        settings = replace(settings, training=training(epochs=2))
    context = Context(1, (model, *names), gene_groups=GROUPS)
    half = people.subset(range(0, len(people) - 20)), people.subset(range(len(people) - 20, len(people)))
    return registry.method_module(model).fit(*half, settings=settings, context=context)


def rows_of(one, people, groups=GROUPS):
    rows, gaps = attribution_rows(one, people, people.ids, EXPLAIN, groups=groups, seed=1, names=("m", 0, 0))
    return pd.DataFrame(rows), pd.DataFrame(gaps, columns=["check", "subject", "value"])


@pytest.mark.parametrize("model", ["coxnet_rna", "snn_rna", "mcat", "survpath"])
def test_a_group_is_the_sum_over_its_genes(model):
    people = make_patients(60, seed=4)
    one = fitted(model, people)
    rows, _ = rows_of(one, people)
    kind = "column" if model == "coxnet_rna" else "gene"
    genes = rows[rows["kind"] == kind].set_index("name")["mean"]
    sums = rows[rows["kind"] == "gene_group"].set_index("name")["mean"]
    assert set(genes.index) == set(people.genes)
    assert sums.to_dict() == pytest.approx({name: genes[members].sum() for name, members in GROUPS.items()}, abs=1e-12)
    np.testing.assert_allclose(rows.loc[rows["kind"] != "gene_group", "share"].sum(), 1)


def test_groups_of_genes_that_a_model_does_not_read_are_not_there():
    by_gene = {"a": np.array([1.0, -2.0]), "b": np.array([0.5, 1.0])}
    made = group_sums(by_gene, {"both": ["a", "b", "c"], "none": ["c"]})
    assert list(made) == ["both"]
    np.testing.assert_allclose(made["both"], [1.5, -1.0])


def test_groups_that_are_predicted_from_slides_are_attributed_through_their_embeddings():
    people = make_patients(60, seed=4)
    rows, gaps = rows_of(fitted("ghanet", people), people, groups={})
    assert list(rows.loc[rows["kind"] == "gene_group", "name"]) == list(GROUPS)
    assert set(gaps["check"]) == {"completeness", "group_completeness"}


def test_predicted_groups_sum_to_the_difference_that_their_embeddings_make():
    torch.manual_seed(0)
    shape = GhanetShape(6, (3, 2), 4, 16, 4, 8, 0.25, 0.2, hyper_attention=True)
    network = Ghanet(shape).double().eval()
    batch = Batch(torch.randn(1, 12, 6).double(), torch.ones(1, 12, dtype=torch.bool), {}, *torch.zeros(2, 1))
    made = group_gradients(network, batch, steps=256)
    assert abs(made.gap) < 1e-3 * abs(made.difference)
    start, end, risk = network.from_groups(batch)
    torch.testing.assert_close(risk(end), network(batch)["risk"])
    assert made.difference == pytest.approx(float((risk(end) - risk(start)).detach()))
    only_one = torch.stack([end[0, 0], start[0, 1]])[None]  # a group that does not move has no part in it
    network.from_groups = lambda batch: (start.detach(), only_one.detach(), risk)
    alone = group_gradients(network, batch, steps=256)
    assert alone.vectors["group"][1] == 0
    assert alone.vectors["group"][0] == pytest.approx(alone.difference, rel=0.02)


def test_follow_up_is_permuted_inside_each_part_alone():
    people = make_patients(30, seed=1)
    parts = people.ids[:12], people.ids[12:20]
    other = permuted_follow_up(people, parts, np.random.default_rng(0))
    pairs = [list(zip(one.time_days, one.event, strict=True)) for one in (people, other)]
    for part in (slice(0, 12), slice(12, 20)):
        assert sorted(pairs[0][part]) == sorted(pairs[1][part])
        assert pairs[0][part] != pairs[1][part]
    assert pairs[0][20:] == pairs[1][20:]
    assert other.expression is people.expression


def test_the_p_value_is_never_zero_and_counts_equals():
    assert null_p_value(2.0, [1.0, 1.5, 0.0]) == 0.25
    assert null_p_value(2.0, [2.0, 1.5, 3.0]) == 0.75


def test_a_planted_gene_stands_out_from_permuted_follow_up_and_noise_does_not():
    people = make_patients(120, seed=2)
    seen, _ = rows_of(fitted("snn_rna", people, "seen"), people)
    null = []
    for number in range(19):
        other = permuted_follow_up(people, [people.ids], np.random.default_rng(number))
        null.append(rows_of(fitted("snn_rna", other, str(number)), people)[0].to_dict("records"))
    made = pd.DataFrame(null_rows(seen.to_dict("records"), null)).set_index("name")
    assert made.loc[["G0", "G2", "one"], "p_value"].tolist() == [0.05] * 3  # gene 2 echoes the trait of the slides
    noise = made.loc[["G3", "G4", "G5", "G6", "G7"]]
    assert noise["p_value"].median() > 0.2
    assert noise["p_share"].min() > 0.2
    assert (made["null_fits"] == 19).all()


def test_without_null_fits_nothing_is_tested():
    assert null_rows([{"kind": "gene", "name": "a", "mean_abs": 1.0, "share": 1.0}], []) == []


def test_what_a_null_fit_does_not_read_counts_as_nothing():
    seen = [{"kind": "gene", "name": "a", "mean_abs": 0.1, "share": 0.3}]
    null = [[{"kind": "gene", "name": name, "mean_abs": 0.2, "share": 0.1}] for name in "ab"]
    made = null_rows(seen, null)[0]
    assert (made["p_value"], made["p_share"]) == pytest.approx((2 / 3, 1 / 3))
    assert (made["null_mean"], made["null_share"]) == pytest.approx((0.1, 0.05))
