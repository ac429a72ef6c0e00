import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.expression.blocks import InMemory, gather
from histoweave.expression.gene_activity import Activity, is_peaks, map_peaks

GENES = pd.DataFrame(
    [("A", "chr1", 10_000, 20_000, "+"), ("B", "chr1", 21_000, 30_000, "-"), ("C", "chr2", 5_000, 6_000, "+")],
    columns=["gene", "chrom", "start", "end", "strand"],
)
PEAKS = [
    "chr1:7000-7900",  # just too far upstream of A
    "chr1:7500-8000",  # touches A's upstream window
    "chr1:19000-21500",  # in A and in B
    "chr1:31500-31900",  # upstream of B, which runs backwards
    "chr1:33000-34000",  # too far
    "chr2_5500_5600",  # in C, written otherwise
    "chrX-1-900",  # no gene there
]


def mapped(annotation=GENES, peaks=PEAKS):
    return map_peaks(peaks, annotation, upstream_bp=2000, source="x.h5ad")


def test_body_and_upstream_window_by_strand():
    found = mapped()
    assert found.genes.tolist() == ["A", "B", "C"]
    expected = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_array_equal(found.matrix.toarray(), expected)
    assert found.mapped.tolist() == [False, True, True, True, False, True, False]


def test_activity_is_the_sum_over_a_genes_peaks(draw):
    counts = draw.poisson(2.0, (9, 7))
    activity = Activity(InMemory(counts, cells=4), mapped())
    assert activity.shape == (9, 3)
    sums = np.column_stack([counts[:, 1] + counts[:, 2], counts[:, 2] + counts[:, 3], counts[:, 5]])
    np.testing.assert_array_equal(gather(activity).toarray(), sums)


def test_equals_comparing_every_peak_with_every_gene(draw):
    starts = draw.integers(0, 100_000, 300)
    peaks = [f"chr1:{a}-{a + length}" for a, length in zip(starts, draw.integers(1, 3000, 300), strict=True)]
    genes = pd.DataFrame({"gene": [f"g{i:02}" for i in range(40)], "chrom": "chr1"})
    genes["start"] = draw.integers(0, 100_000, 40)
    genes["end"] = genes["start"] + draw.integers(100, 9000, 40)
    genes["strand"] = draw.choice(["+", "-"], 40)
    found = mapped(genes, peaks)
    low = genes["start"] - np.where(genes["strand"] == "+", 2000, 0)
    high = genes["end"] + np.where(genes["strand"] == "-", 2000, 0)
    a, b = np.array([[int(x) for x in name[5:].split("-")] for name in peaks]).T
    slow = (a[:, None] <= high.to_numpy()) & (b[:, None] >= low.to_numpy())
    np.testing.assert_array_equal(found.matrix.toarray() > 0, slow[:, slow.any(axis=0)])


def test_rows_of_one_gene_are_joined():
    twice = pd.concat([GENES, GENES.iloc[[0]].assign(start=15_000)])
    np.testing.assert_array_equal(mapped(twice).matrix.toarray(), mapped().matrix.toarray())


def test_names_tell_peaks_from_genes():
    assert is_peaks(PEAKS)
    assert not is_peaks(["TP53", "HLA-A", "chr1:1-2"])


@pytest.mark.parametrize(
    ("annotation", "peaks", "text"),
    [
        (GENES.drop(columns="strand"), PEAKS, "annotation has no column 'strand'"),
        (GENES.assign(strand="*"), PEAKS, r"3 genes have no strand \+ or - \(first: 'A'\)"),
        (GENES.assign(chrom=["1", "1", "2"]), PEAKS, "none of 7 peaks lies in a gene.*chromosomes named alike"),
        (GENES, [*PEAKS, "TP53"], "1 of 8 names are no genomic regions.*'TP53'"),
    ],
)
def test_what_does_not_fit_is_refused(annotation, peaks, text):
    with pytest.raises(InputError, match=text):
        mapped(annotation, peaks)
