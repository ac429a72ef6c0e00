import numpy as np
import pytest

from histoweave.expression.blocks import InMemory, Subset, depths, gather


@pytest.fixture
def counts(draw):
    return draw.poisson(1.0, (17, 5))


@pytest.mark.parametrize("cells", [None, 1, 4, 17, 50])
def test_blocks_put_together_are_the_matrix(counts, cells):
    blocks = InMemory(counts, cells=cells)
    assert blocks.shape == (17, 5)
    np.testing.assert_array_equal(gather(blocks).toarray(), counts)
    ends = [(rows.start, rows.stop) for rows, _ in blocks]
    assert ends[0][0] == 0
    assert all(a[1] == b[0] for a, b in zip(ends, ends[1:], strict=False))


def test_subset_keeps_cells_and_takes_genes_in_the_given_order(counts, draw):
    keep = draw.uniform(size=17) < 0.4
    part = Subset(InMemory(counts, cells=3), cells=keep, genes=[4, 0])
    assert part.shape == (keep.sum(), 2)
    np.testing.assert_array_equal(gather(part).toarray(), counts[keep][:, [4, 0]])
    np.testing.assert_array_equal(depths(part), counts[keep][:, [4, 0]].sum(axis=1))


def test_an_empty_subset_is_empty(counts):
    part = Subset(InMemory(counts, cells=3), cells=np.zeros(17, bool), genes=None)
    assert gather(part).shape == (0, 5)


def test_integer_counts_become_float(counts):
    assert next(iter(InMemory(counts, cells=None)))[1].dtype == np.float64
