import numpy as np
import pytest

from histoweave.expression.blocks import InMemory, Kept, Subset, as_blocks, depths, gather


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


class Counted(InMemory):
    """Blocks that count how often they are read."""

    readings = 0

    def __iter__(self):
        self.readings += 1
        yield from super().__iter__()


def test_kept_blocks_are_read_once(counts):
    source = Counted(counts, cells=4)
    kept = Kept(source, most_gb=1.0)
    for _ in range(3):
        np.testing.assert_array_equal(gather(kept).toarray(), counts)
        assert [rows for rows, _ in kept] == [rows for rows, _ in InMemory(counts, cells=4)]
    assert source.readings == 1
    assert all(block.dtype == np.float64 for _, block in kept)


def test_blocks_that_take_too_much_are_read_again(counts):
    source = Counted(counts, cells=4)
    kept = Kept(source, most_gb=200 / 2**30)
    for _ in range(2):
        np.testing.assert_array_equal(gather(kept).toarray(), counts)
    assert source.readings == 2


def test_a_reading_that_was_broken_off_keeps_nothing(counts):
    kept = Kept(InMemory(counts, cells=4), most_gb=1.0)
    next(iter(kept))
    np.testing.assert_array_equal(gather(kept).toarray(), counts)


def test_kept_counts_lose_no_digits():
    large = np.array([[2**24 + 1, 3], [0, 1]])
    kept = Kept(InMemory(large, cells=1), most_gb=1.0)
    list(kept)
    np.testing.assert_array_equal(gather(kept).toarray(), large)


def test_a_matrix_becomes_blocks_and_blocks_stay_what_they_are(counts):
    assert [rows.stop for rows, _ in as_blocks(counts, cells=10)] == [10, 17]
    blocks = InMemory(counts, cells=3)
    assert as_blocks(blocks, cells=10) is blocks
