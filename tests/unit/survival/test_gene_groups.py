import numpy as np
import pytest

from histoweave.errors import InputError
from histoweave.survival.gene_groups import GateSettings, gate, present


def planted(n=120, genes=40, seed=0):
    rng = np.random.default_rng(seed)
    profiles = rng.normal(size=(n, genes))
    time = rng.exponential(1.0, n) * np.exp(-2 * profiles[:, 3]) * 500 + 1
    return profiles, time, (rng.random(n) < 0.8).astype(int), [np.arange(20), np.arange(15, 40)]


def test_top_finds_the_planted_gene_and_keeps_the_asked_number():
    chosen = gate(*planted(), GateSettings("top", 5, 0.05))
    assert 3 in chosen[0]
    assert [len(columns) for columns in chosen] == [5, 5]
    assert all((np.diff(columns) > 0).all() for columns in chosen)


def test_bh_keeps_a_minimum_where_nothing_is_found():
    chosen = gate(*planted(), GateSettings("bh", 2, 0.05))
    assert 3 in chosen[0]
    assert len(chosen[1]) >= 2
    assert len(chosen[1]) < 10


def test_none_keeps_all():
    profiles, time, event, members = planted()
    assert [len(c) for c in gate(profiles, time, event, members, GateSettings("none", 1, 0.05))] == [20, 25]


def test_repeated_patients_would_change_the_gate_but_order_does_not():
    profiles, time, event, members = planted()
    order = np.random.default_rng(1).permutation(len(time))
    settings = GateSettings("top", 6, 0.05)
    for a, b in zip(
        gate(profiles, time, event, members, settings),
        gate(profiles[order], time[order], event[order], members, settings),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_too_few_early_deaths():
    profiles, time, event, members = planted(n=6)
    with pytest.raises(InputError, match="two early deaths and two long survivors"):
        gate(profiles, time, np.array([1, 1, 0, 0, 0, 0]), members, GateSettings("top", 5, 0.05))


def test_groups_are_restricted_and_small_ones_left_out_with_the_reason():
    groups = {"big": list("abcdef"), "small": list("xa"), "wide": list("abc")}
    kept, left_out = present(groups, list("abcdef"), least_genes=2, most_groups=1)
    assert kept == {"big": list("abcdef")}
    assert left_out["small"] == "1 of its 2 genes are in the expression table"
    assert "most_groups" in left_out["wide"]


def test_no_group_in_the_data():
    with pytest.raises(InputError, match=r"none of the 1 gene groups \('g'\) has 3 genes"):
        present({"g": ["x", "y", "z"]}, ["a"], least_genes=3, most_groups=5)
