import pandas as pd

from histoweave.plots.embedding import gene_map
from histoweave.plots.style import alternative_text

GENES = pd.DataFrame(
    {"gene": list("abcdef"), "x": range(6), "y": range(6), "module": ["1", "1", "1", "2", "2", "none"]}
)


def test_largest_modules_are_named_and_the_rest_is_grey():
    axes = gene_map(GENES, most=2).axes[0]
    assert [text.get_text() for text in axes.get_legend().texts] == ["module 1 (3)", "module 2 (2)"]
    assert [len(points.get_offsets()) for points in axes.collections] == [1, 3, 2]


def test_words():
    text = alternative_text(gene_map(GENES, most=2))
    assert "6 genes" in text
    assert "module 1 with 3 genes and module 2 with 2 genes" in text
