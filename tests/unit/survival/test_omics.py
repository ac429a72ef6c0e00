"""Copy numbers and mutations beside RNA: scaled by those who have them, in a linear model by setting."""

from dataclasses import replace

import numpy as np
import pytest
from unit.survival.people import make_patients

from histoweave.errors import InputError
from histoweave.survival import coxnet_both, coxnet_rna
from histoweave.survival.concordance import concordance
from histoweave.survival.interface import Context
from histoweave.survival.linear import CoxnetSettings
from histoweave.survival.omics import AlterationInput, OmicsScale

NET = CoxnetSettings(l1_ratio=0.5, penalties=12, least_penalty=0.05, inner_folds=3)
CONTEXT = Context(1, ("coxnet_omics", "0", "0"))


def altered(n=160, *, effect=1.0):
    """Patients whose only telling column is the mutation G0_mut."""
    rng = np.random.default_rng(4)
    people = make_patients(n, seed=3, effect=0)
    mutation = rng.random(n) < 0.4
    columns = np.column_stack([mutation, rng.integers(-2, 3, n), np.zeros(n)]).astype(float)
    time = np.ceil(rng.exponential(500, n) * np.exp(-2 * effect * mutation) + 1)
    names = ("G0_mut", "G1_cnv", "G2_mut")
    flat = replace(people, expression=rng.normal(size=people.expression.shape))
    return replace(flat, time_days=time, event=np.ones(n, int), alterations=columns, alteration_names=names)


def test_scaling_by_hand_and_unknown_is_the_mean():
    people = altered(4)
    people.alterations[:] = [[0, 1, 5], [1, 2, 5], [0, 3, 5], [np.nan] * 3]
    scale = AlterationInput.fitted(people, clip=5.0)
    assert scale.names == ("G0_mut", "G1_cnv")  # the third never changes
    wanted = [[-(0.5**0.5), -(1.5**0.5)], [2**0.5, 0], [-(0.5**0.5), 1.5**0.5], [0, 0]]
    np.testing.assert_allclose(scale(people), wanted, rtol=1e-6)
    assert np.abs(replace(scale, clip=0.5)(people)).max() == 0.5


def test_columns_are_found_by_name_and_absent_ones_are_the_mean():
    people = altered()
    scale = AlterationInput.fitted(people, clip=5.0)
    turned = replace(people, alterations=people.alterations[:, ::-1], alteration_names=people.alteration_names[::-1])
    np.testing.assert_array_equal(scale(turned), scale(people))
    without = replace(people, alterations=people.alterations[:, 1:], alteration_names=people.alteration_names[1:])
    np.testing.assert_array_equal(scale(without), scale(people) * [0, 1])
    assert not scale(replace(people, alterations=None, alteration_names=())).any()


def test_a_panel_holds_the_telling_columns_in_their_order_and_scaling():
    people = altered()
    rng = np.random.default_rng(7)
    silent = rng.normal(size=(160, 30))
    names = (*(f"S{k}_cnv" for k in range(30)), *people.alteration_names)
    wide = replace(people, alterations=np.hstack([silent, people.alterations]), alteration_names=names)
    everything, panel = (AlterationInput.fitted(wide, clip=5.0, panel=n) for n in (0, 4))
    assert len(everything.names) == 32
    assert len(panel.names) == 4
    assert "G0_mut" in panel.names
    place = [everything.names.index(name) for name in panel.names]
    assert place == sorted(place)
    np.testing.assert_array_equal(panel(wide), everything(wide)[:, place])
    assert AlterationInput.fitted(wide, clip=5.0, panel=32).names == everything.names


def test_a_panel_asks_the_outcome_of_the_training_part_alone():
    people = altered()
    train, test = people.subset(range(100)), people.subset(range(100, 160))
    chosen = AlterationInput.fitted(train, clip=5.0, panel=1).names
    assert chosen == ("G0_mut",)
    other = replace(train, time_days=np.exp(-train.alterations[:, 1]))
    assert AlterationInput.fitted(other, clip=5.0, panel=1).names == ("G1_cnv",)
    assert AlterationInput.fitted(train, clip=5.0, panel=1)(test).shape == (60, 1)


@pytest.mark.parametrize("method", ["coxnet_rna", "coxnet_both"])
def test_a_mutation_is_used_where_the_setting_says_so(method):
    people = altered()
    found = {}
    for use in (True, False):
        if method == "coxnet_rna":
            module, settings = coxnet_rna, coxnet_rna.CoxnetRnaSettings(0, use, 10.0, NET)
        else:
            module, settings = coxnet_both, coxnet_both.CoxnetBothSettings("late", 0, use, 10.0, NET)
        parts = people.subset(range(90)), people.subset(range(90, 110))
        fitted = module.fit(*parts, settings=settings, context=CONTEXT)
        assert ("G0_mut" in fitted.columns) == use
        test = people.subset(range(110, 160))
        risk = fitted.predict(test, [365]).risk
        found[use] = concordance(test.time_days, test.event, risk)
        again = module.restore(*fitted.state()).predict(test, [365])
        np.testing.assert_array_equal(again.risk, risk)
    assert found[True] > found[False] + 0.1


def test_alterations_asked_for_and_not_there():
    people = replace(altered(), alterations=None, alteration_names=())
    with pytest.raises(InputError, match=r"coxnet_rna: no copy number or mutation varies .* Give inputs\.alterations"):
        OmicsScale.fitted(people, n_genes=0, clip=10.0, alterations=True, method="coxnet_rna")
