import numpy as np

from histoweave.simulate.cohort import MODULES, RISK_MODULE
from histoweave.simulate.genes import CELL_TYPES, GENES, PER_MODULE, PER_TYPE
from histoweave.simulate.symbols import FAMILIES, MITOCHONDRIAL


def test_names_are_unique_and_families_keep_their_members(genes):
    table = genes.table.set_index("gene")
    assert table.index.is_unique
    assert len(table) == GENES
    for family, symbols in FAMILIES.items():
        assert (table.loc[list(symbols), "family"] == family).all()


def test_a_symbol_stands_in_one_family_only():
    symbols = [symbol for members in FAMILIES.values() for symbol in members]
    assert len(symbols) == len(set(symbols))
    assert not set(symbols) & set(MITOCHONDRIAL)


def test_modules_and_markers_have_their_sizes_and_share_no_gene(genes):
    table = genes.table
    assert table["module"].value_counts().drop("").to_dict() == dict.fromkeys(MODULES, PER_MODULE)
    assert table["marker_of"].value_counts().drop("").to_dict() == dict.fromkeys(CELL_TYPES, PER_TYPE)
    assert not ((table["module"] != "") & (table["marker_of"] != "")).any()
    assert (table.loc[table["risk"], "module"] == RISK_MODULE).all()


def test_loadings_belong_to_the_gene_s_module(genes):
    for column, name in enumerate(MODULES):
        inside = (genes.table["module"] == name).to_numpy()
        assert (genes.loadings[inside, column] >= 0.5).all()
        assert (genes.loadings[~inside, column] == 0).all()


def test_profiles_are_shares_and_markers_mark_their_type(genes):
    for kind, profile in genes.profiles.items():
        np.testing.assert_allclose(profile.sum(), 1)
        others = np.mean([genes.profiles[other] for other in CELL_TYPES if other != kind], axis=0)
        marks = (genes.table["marker_of"] == kind).to_numpy()
        assert (profile[marks] > 3 * others[marks]).all()
