import numpy as np
import pytest
from scipy import sparse

from histoweave.errors import InputError
from histoweave.expression.blocks import InMemory
from histoweave.expression.qc import QcSettings, Thresholds, check_names, inspect, mito_genes

LOOSE = Thresholds(min_counts=1, min_genes=0, max_genes=None, max_mito_percent=None, min_cells=1)
GENES = np.array(["MT-CO1", "MTOR", "A", "B", "C", "D"])


def settings(**changes):
    limits = {"scrna": LOOSE, "scatac": LOOSE, "spatial": LOOSE}
    base = {"mito_prefix": "MT-", "keep_mito_genes": False, "min_cells_left": 3}
    return QcSettings(**(limits | base | changes))


def look(counts, *, modality="scrna", coords=None, genes=None, cells=None, **changes):
    counts = np.asarray(counts, dtype=float)
    return inspect(
        InMemory(counts, cells=2),
        cells=cells if cells is not None else np.array([f"c{i}" for i in range(len(counts))]),
        genes=genes if genes is not None else GENES[: counts.shape[1]],
        coords=coords,
        settings=settings(**changes),
        modality=modality,
        source="x.h5ad",
    )


@pytest.fixture
def counts():
    return np.array(
        [
            [0, 1, 2, 3, 0, 1],
            [9, 0, 0, 1, 0, 0],
            [0, 1, 1, 1, 1, 1],
            [0, 0, 0, 0, 0, 0],
            [0, 4, 0, 0, 0, 2],
            [1, 1, 0, 2, 0, 0],
        ],
        dtype=float,
    )


def test_cells_are_counted_whatever_the_block_size(counts):
    tally, _ = look(counts)
    np.testing.assert_array_equal(tally.counts, counts.sum(axis=1))
    np.testing.assert_array_equal(tally.genes, (counts > 0).sum(axis=1))
    np.testing.assert_allclose(tally.mito_percent, [0, 90, 0, 0, 0, 25])


def test_each_limit_gives_its_reason(counts):
    strict = Thresholds(min_counts=5, min_genes=3, max_genes=5, max_mito_percent=20, min_cells=1)
    _, found = look(counts, scrna=strict, min_cells_left=1)
    reasons = ["", "fewer than 3 genes", "5 genes or more", "fewer than 5 counts"]
    assert found.cell_reasons.tolist() == [*reasons, "fewer than 3 genes", "fewer than 5 counts"]
    assert found.gene_reasons[0] == "mitochondrial gene"


def test_genes_are_judged_on_the_cells_that_stay(counts):
    limits = Thresholds(min_counts=1, min_genes=0, max_genes=5, max_mito_percent=None, min_cells=1)
    _, found = look(counts, scrna=limits)
    assert found.gene_reasons[4] == "found in fewer than 1 cells"  # only the cell with 5 genes had it
    assert found.genes.tolist() == [False, True, True, True, False, True]


def test_a_cell_with_mitochondrial_counts_only_is_left_out():
    counts = np.array([[5, 0, 0], [1, 2, 3], [0, 2, 1], [0, 1, 1]], dtype=float)
    _, found = look(counts)
    assert found.cell_reasons.tolist() == ["no counts in the genes that are kept", "", "", ""]


def test_mitochondrial_genes_need_the_whole_prefix():
    assert mito_genes(["MT-CO1", "mt-Nd1", "MTOR", "MT1X"], prefix="MT-").tolist() == [True, True, False, False]
    assert not mito_genes(["MT-CO1"], prefix="").any()


def test_spots_without_a_coordinate_are_left_out(counts):
    coords = np.arange(12.0).reshape(6, 2)
    coords[2, 1] = np.nan
    _, found = look(counts, modality="spatial", coords=coords)
    assert found.cell_reasons[2] == "no coordinate"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, r"1 counts are not whole numbers \(first: 1.5, from cell 'c2' on\)"),
        (-2, r"1 counts are negative \(first: -2, from cell 'c2' on\)"),
        (np.nan, r"1 values are missing or infinite \(from cell 'c2' on\)"),
    ],
)
def test_values_that_are_no_counts_are_refused(counts, value, text):
    counts[3, 1] = value
    with pytest.raises(InputError, match="x.h5ad: " + text):
        look(counts)


def test_an_empty_matrix_is_refused(counts):
    with pytest.raises(InputError, match="all 6 x 6 counts are zero"):
        look(0 * counts)


def test_two_cells_are_too_few(counts):
    with pytest.raises(InputError, match=r"2 of 2 cells and 4 of 6 genes pass.*at least 3 cells.*min_cells_left"):
        look(counts[[0, 4]])


def test_limits_that_leave_nothing_say_which(counts):
    limits = Thresholds(min_counts=100, min_genes=0, max_genes=None, max_mito_percent=None, min_cells=1)
    with pytest.raises(InputError, match="most often left out: fewer than 100 counts.*expression.qc.scrna"):
        look(counts, scrna=limits)


def test_names_must_be_unique_and_there():
    with pytest.raises(InputError, match=r"1 gene names stand more than once: 'A'"):
        check_names(["A", "B", "A"], what="gene", source="x.h5ad")
    with pytest.raises(InputError, match="a cell has no name"):
        check_names(["A", ""], what="cell", source="x.h5ad")


@pytest.mark.parametrize("other", ["ENSG00000141510", "ENSMUSG00000059552.3", "7157", "chr1:100-900", "chr2-100-900"])
def test_names_of_mixed_kinds_are_refused(other):
    base = other.rstrip("0123456789")
    ids = [f"{base}{900001 + i}" for i in range(50)] if not base.endswith(".") else [other] * 0
    ids = ids or [f"ENSMUSG0000005955{i % 10}.{i}" for i in range(50)]
    with pytest.raises(InputError, match="gene names are of mixed kinds: 50 of 100"):
        check_names([f"GENE{i}" for i in range(50)] + ids, what="gene", source="x.h5ad")


def test_a_few_unnamed_genes_among_symbols_are_fine():
    check_names([f"G{i}" for i in range(97)] + ["ENSG00000141510", "7157"], what="gene", source="x.h5ad")


def test_sparse_and_dense_counts_are_equal(counts):
    dense, sparse_one = InMemory(counts, cells=2), InMemory(sparse.csc_matrix(counts), cells=4)
    assert sum(b.sum() for _, b in dense) == sum(b.sum() for _, b in sparse_one) == counts.sum()
