import numpy as np
import pandas as pd
import pytest

from histoweave.plots import genes
from histoweave.plots.style import alternative_text

NAN = float("nan")


def curve(looks=True):
    rows = [(epoch, "reconstruction", value) for epoch, value in enumerate((0.9, 0.4, 0.5), start=1)]
    rows += [(2, "validation_auc", 0.7), (3, "validation_auc", 0.8)] if looks else []
    return pd.DataFrame(rows, columns=["epoch", "part", "value"])


@pytest.mark.parametrize(("looks", "kept"), [(True, 3), (False, 2)])
def test_the_kept_epoch_is_marked_in_every_panel(looks, kept):
    figure = genes.gene_training(curve(looks=looks))
    assert len(figure.axes) == 1 + looks
    for axes in figure.axes:
        assert list(axes.lines[-1].get_xdata()) == [kept, kept]
    assert f"epoch {kept} of 3" in alternative_text(figure)


def terms():
    rows = [("M01", "A", 0.5, 1e-6, True), ("M02", "A", 0.1, 0.2, False), ("M01", "B", 0.2, 0.9, False)]
    return pd.DataFrame(rows, columns=["module", "term", "rich_factor", "q_value", "found"])


def test_discs_stand_for_modules_and_terms_and_only_found_ones_have_a_rim():
    axes = genes.enriched_terms(terms(), most=5).axes[0]
    discs = axes.collections[0]
    np.testing.assert_allclose(discs.get_offsets(), [[0, 0], [1, 0]])
    np.testing.assert_allclose(discs.get_array(), [6, -np.log10(0.2)])
    assert [rim[3] for rim in discs.get_edgecolors()] == [1, 0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A"]  # B says nothing


def test_without_a_found_term_the_best_are_shown_all_the_same():
    figure = genes.enriched_terms(terms().assign(found=False), most=5)
    assert len(figure.axes[0].collections[0].get_offsets()) == 3
    assert "Best: none" in alternative_text(figure)


def test_probes_rise_and_name_median_and_pairs():
    rows = [
        ("ours", "(pairs)", 0.55),
        ("ours", "A", 0.9),
        ("ours", "B", 0.7),
        ("random", "A", NAN),
        ("random", "B", 0.5),
    ]
    figure = genes.set_probes(pd.DataFrame(rows, columns=["method", "term", "auroc"]))
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.7, 0.9])
    assert "ours: median 0.80, pairs 0.55 over 2 sets; random: median 0.50 over 1 sets" in alternative_text(figure)


def changes(q):
    frame = pd.DataFrame({"gene": ["A", "B", "C"], "lost_neighbours": [0.2, 0.9, 0.5], "moved": [0.1, 0.8, 0.8]})
    return frame.assign(q_moved=q, q_lost_neighbours=q)


def test_genes_that_move_most_are_named_and_a_missing_test_is_told():
    figure = genes.changed_genes(changes([NAN, NAN, NAN]), named=2)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["B", "C"]
    heights = [text.xyann[1] for text in axes.texts]
    assert heights[0] > heights[1]  # equal values, names apart
    assert axes.get_title(loc="left") == "one dataset per condition: no p value"


def test_genes_of_low_q_have_their_own_mark():
    axes = genes.changed_genes(changes([0.5, 0.01, 0.2]), named=1).axes[0]
    np.testing.assert_allclose(axes.collections[1].get_offsets(), [[0.9, 0.8]])
    assert axes.get_title(loc="left") == "1 of 3 genes at q < 0.05"


def test_classifiers_stand_in_their_label_s_row():
    rows = [(name, label, 9, 0.6) for name in ("knn", "logistic", "shuffled") for label in ("x", "y")]
    figure = genes.function_scores(pd.DataFrame(rows, columns=["classifier", "label", "n_genes", "auroc"]))
    places = [line.get_ydata() for line in figure.axes[0].lines[:3]]
    np.testing.assert_allclose(np.round(places), [[0, 1]] * 3)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x (9 genes)", "y (9 genes)"]


def test_orthologues_have_a_panel_per_measure_beside_random():
    rows = [("human", "mouse", name, 0.8, 0.5) for name in ("cluster_share", "rank", "top")]
    figure = genes.orthologues(pd.DataFrame(rows, columns=["species_a", "species_b", "measure", "value", "random"]))
    assert len(figure.axes) == 3
    assert [list(line.get_xdata()) for line in figure.axes[1].lines] == [[0.5], [0.8]]
    assert "human and mouse, rank: 0.80, at random 0.50" in alternative_text(figure)
