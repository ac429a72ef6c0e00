"""No member of the ensemble stops on patients that its panel was chosen with."""

import json
from dataclasses import replace

import numpy as np
import pytest
from unit.survival import test_path_gptomic as base
from unit.survival.test_path_gptomic import HORIZONS, context, fit, settings

from histoweave.survival import path_gptomic
from histoweave.survival.attribution import integrated_gradients
from histoweave.survival.path_gptomic_members import fit_alteration_panels, fit_panels, member_parts, split_again

cohort, cells = base.cohort, base.cells
COX = {"panel_by": "cox", "panel_genes": 6, "values": "standardised"}
CHANGES = tuple(f"G{k}_cnv" for k in range(9))


@pytest.fixture
def altered(cohort):
    changes = np.random.default_rng(5).integers(-2, 3, size=(80, 9)).astype(float)
    return replace(cohort, alterations=changes, alteration_names=CHANGES)


def three():
    return [replace(context(), names=("model", "0", "0", f"member {m}")) for m in range(3)]


def parts_of(cohort, *, shared=False):
    return member_parts(cohort.subset(range(50)), cohort.subset(range(50, 64)), three(), shared=shared)


def test_each_member_divides_the_outer_training_part_anew(cohort):
    parts = parts_of(cohort)
    assert parts[0][0].ids == cohort.ids[:50]
    assert {len(validation) for _, validation in parts} == {14}
    for train, validation in parts:
        assert sorted(train.ids + validation.ids) == sorted(cohort.ids[:64])
    assert len({validation.ids for _, validation in parts}) == 3
    assert [v.ids for _, v in parts_of(cohort)] == [v.ids for _, v in parts]
    assert {v.ids for _, v in parts_of(cohort, shared=True)} == {cohort.ids[50:64]}


def test_another_part_holds_its_share_of_the_events():
    event = (np.arange(100) < 30).astype(int)
    train, validation = split_again(event, 20, np.random.default_rng(0))
    assert sorted([*train, *validation]) == list(range(100))
    assert event[validation].sum() == 6


def test_a_panel_by_outcome_does_not_depend_on_its_own_validation_part(altered):
    parts = parts_of(altered)
    own = settings(encoder=COX).encoder
    union, columns = fit_panels([train for train, _ in parts], own, context())
    changed, wide = fit_alteration_panels([train for train, _ in parts], clip=5.0, panel=3)
    for member, (train, validation) in enumerate(parts):
        turned = altered.time_days.copy()
        rows = [altered.ids.index(name) for name in validation.ids]
        turned[rows] = turned[rows][::-1] * 7
        again = parts_of(replace(altered, time_days=turned))
        assert again[member][0].time_days.tolist() == train.time_days.tolist()
        other, places = fit_panels([part for part, _ in again], own, context())
        assert [other.genes[c] for c in places[member]] == [union.genes[c] for c in columns[member]]
        moved, spots = fit_alteration_panels([part for part, _ in again], clip=5.0, panel=3)
        assert [moved.names[c] for c in spots[member]] == [changed.names[c] for c in wide[member]]


def test_a_member_s_panel_is_that_of_its_training_part_on_one_scale(altered):
    trains = [train for train, _ in parts_of(altered)]
    own = settings(encoder=COX).encoder
    union, columns = fit_panels(trains, own, context())
    alone = [fit_panels([train], own, context())[0].genes for train in trains]
    assert [tuple(union.genes[c] for c in where) for where in columns] == alone
    assert len(set(alone)) > 1
    assert set(union.genes) == set().union(*alone)
    first, _ = fit_panels(trains[:1], own, context())
    whole, part = (one(altered.expression, altered.genes) for one in (union, first))
    np.testing.assert_array_equal(whole[:, columns[0]], part)


def test_what_no_outcome_chose_is_shared(altered):
    trains = [train for train, _ in parts_of(altered)]
    profile, columns = fit_panels(trains, settings().encoder, context())
    assert columns == [None] * 3
    assert len(profile.genes) == 16
    for panel in (0, 9, 50):
        found, columns = fit_alteration_panels(trains, clip=5.0, panel=panel)
        assert (found.names, columns) == (CHANGES, [None] * 3)
    nobody = [replace(train, alterations=None, alteration_names=()) for train in trains]
    assert fit_alteration_panels(nobody, clip=5.0, panel=3) == (None, [None] * 3)


def test_networks_see_their_panels_alone_and_a_bundle_keeps_them(altered):
    own = replace(settings(members=3, encoder=COX), alteration_panel=3)
    fitted = fit(altered, own)
    plain = fitted.predict(altered, HORIZONS)
    source = fitted.source(altered)
    for network in fitted.networks:
        assert (len(network.gene_columns), len(network.alterations_columns)) == (6, 3)
        batch = source.batch(range(80))
        seen = network(batch)["risk"].detach()
        for name in ("gene", "alterations"):
            hidden = batch.vectors[name].clone()
            unseen = sorted(set(range(hidden.shape[1])) - set(getattr(network, f"{name}_columns").tolist()))
            assert unseen
            hidden[:, unseen] = 9.0
            other = network(replace(batch, vectors={**batch.vectors, name: hidden}))["risk"].detach()
            np.testing.assert_array_equal(other.numpy(), seen.numpy())
    tensors, meta = fitted.state()
    again = path_gptomic.restore(tensors, json.loads(json.dumps(meta))).predict(altered, HORIZONS)
    np.testing.assert_array_equal(again.risk, plain.risk)
    np.testing.assert_array_equal(again.survival, plain.survival)


def test_attributions_are_zero_outside_a_member_s_panel_and_complete_inside(altered):
    fitted = fit(altered, replace(settings(members=2, encoder=COX), alteration_panel=3))
    networks, source, names = fitted.explained(altered.subset([70]))
    for network in networks:
        found = integrated_gradients(network, source.batch([0]), inputs=("gene", "alterations"), steps=64)
        assert len(found.vectors["gene"]) == len(names["gene"])
        outside = np.delete(found.vectors["gene"], network.gene_columns.numpy())
        assert not outside.any()
        assert abs(found.gap) < 0.05 * max(abs(found.difference), 0.1)


def test_where_stage_one_binds_the_members_they_share_their_parts(cohort, cells):
    chosen = settings(members=2, encoder={"panel_by": "cox"})
    assert path_gptomic.shares_chosen_panel(cohort, chosen, context(cells=cells))
    assert not path_gptomic.shares_chosen_panel(cohort, chosen, context())
    assert not path_gptomic.shares_chosen_panel(cohort, settings(members=2), context(cells=cells))
    fitted = fit(cohort, chosen, context(cells=cells))
    assert all(network.gene_columns is None for network in fitted.networks)
