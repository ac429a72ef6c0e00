import numpy as np
import pytest
import torch
from unit.survival.people import make_patients

from histoweave.survival.attribution import cases, integrated_gradients, percentile_scores, randomised
from histoweave.survival.bags import Batch
from histoweave.survival.combine import Member, combined, group_expression
from histoweave.survival.ghanet import Ghanet, GhanetShape
from histoweave.survival.interface import Prediction


class Linear(torch.nn.Module):
    """Mean of tiles and a vector, each with a weight per input."""

    def __init__(self):
        super().__init__()
        self.tiles = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        self.gene = torch.nn.Parameter(torch.tensor([0.5, 0.0, 3.0]))

    def forward(self, batch):
        return {"risk": (batch.tiles @ self.tiles).mean(dim=1) + batch.vectors["gene"] @ self.gene}


def one(tiles, gene):
    zeros = torch.zeros(1)
    return Batch(tiles[None], torch.ones(1, len(tiles), dtype=torch.bool), {"gene": gene[None]}, zeros, zeros)


def test_linear_models_are_attributed_exactly():
    tiles, gene = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1.0, 5.0, -1.0])
    made = integrated_gradients(Linear(), one(tiles, gene), inputs=["gene"], steps=3)
    np.testing.assert_allclose(made.tiles, [[0.5, -2.0], [1.5, -4.0]], rtol=1e-6)
    np.testing.assert_allclose(made.vectors["gene"], [0.5, 0.0, -3.0], rtol=1e-6)
    assert made.gap == pytest.approx(0, abs=1e-5)
    assert made.difference == pytest.approx(-4 - 2.5)


def test_the_gap_closes_with_more_steps():
    torch.manual_seed(0)
    shape = GhanetShape(6, (3, 2), 4, 16, 4, 8, 0.25, 0.2, hyper_attention=True)
    network = Ghanet(shape).eval()
    tiles = torch.randn(1, 12, 6)
    batch = Batch(tiles, torch.ones(1, 12, dtype=torch.bool), {}, torch.zeros(1), torch.zeros(1))
    coarse, fine = (abs(integrated_gradients(network, batch, inputs=[], steps=n).gap) for n in (4, 512))
    assert fine < coarse
    assert fine < 1e-3


def test_random_weights_differ_and_leave_the_model_alone():
    network = Linear()
    other = randomised(network, 1)
    assert network.tiles.tolist() == [1.0, -2.0]
    assert not torch.equal(other.gene, network.gene)
    assert torch.equal(other.gene, randomised(network, 1).gene)


def test_cases_are_picked_by_rule():
    assert cases({"a": 3.0, "b": 1.0, "c": 2.0}) == {"highest": "a", "median": "c", "lowest": "b"}
    assert cases({}) == {}


def test_one_scale_for_all_slides():
    scores = percentile_scores([np.array([0.1, 0.5]), np.array([0.9, 0.5])])
    np.testing.assert_allclose(np.concatenate(scores), [0.125, 0.5, 0.875, 0.5])
    assert percentile_scores([]) == []


def member(risk, train, offset=0.0):
    risk = np.asarray(risk, dtype=float) + offset
    survival = 1 / (1 + np.exp(risk - offset))[:, None]
    more = {"reconstruction": np.stack([risk, risk + 1, risk + 2], axis=1)}
    return Member(Prediction(risk, survival, more), np.sort(np.asarray(train, dtype=float) + offset))


def test_scales_of_folds_do_not_matter():
    people, train = ["x", "y"], [-1.0, 0, 1, 2, 3]
    same = combined(people, [member([0, 2], train), member([0, 2], train, offset=50)], [365])
    np.testing.assert_allclose(same["risk_lower"], same["risk_upper"])
    np.testing.assert_allclose(same["percentile"], [30.0, 70.0])
    assert same["survival_365"].tolist() == pytest.approx([0.5, 1 / (1 + np.exp(2))])


def test_disagreement_is_the_range():
    made = combined(["x"], [member([0], [-1.0, 1.0]), member([1], [-1.0, 1.0])], [365])
    assert made.loc[0, ["risk_lower", "risk", "risk_upper"]].tolist() == [0.0, 0.5, 1.0]


def test_group_expression_is_the_mean_over_genes_and_folds():
    people = make_patients(2).ids
    members = [member([0, 1], [0.0, 1.0]), member([2, 3], [0.0, 1.0])]
    made = group_expression(people, members, [["a", "b"]] * 2, [(1, 2)] * 2).set_index(["patient", "group"])
    assert made.loc[("P000", "a")].tolist() == [1.0, 0.0, 2.0]
    assert made.loc[("P001", "b")].tolist() == [3.5, 2.5, 4.5]
