"""Neighbour graph, communities and the picture."""

import numpy as np
from scipy import sparse

from histoweave.genegraph.layout import umap_layout
from histoweave.genegraph.neighbours import by_size, communities, fuzzy_graph, leiden, nearest


def blobs(sizes, dim=5, apart=20.0, seed=0):
    rng = np.random.default_rng(seed)
    centres = apart * rng.standard_normal((len(sizes), dim))
    label = np.repeat(np.arange(len(sizes)), sizes)
    return (centres[label] + rng.standard_normal((len(label), dim))).astype(np.float32), label


def test_each_row_is_its_own_first_neighbour_also_among_equals():
    z = np.zeros((30, 3))
    found, distances = nearest(z, number=10)
    assert (found[:, 0] == np.arange(30)).all()
    assert (distances == 0).all()
    assert all(len(set(row)) == 10 for row in found)


def test_weights_of_a_row_sum_to_log2_of_the_number():
    z, _ = blobs([60])
    found, distances = nearest(z, number=15)
    joined = fuzzy_graph(found, distances)
    assert abs(joined - joined.T).max() < 1e-12
    assert joined.max() <= 1
    # undo a + b - ab for pairs that are neighbours one way only: those weights are the directed ones
    directed = sparse.csr_array(
        (np.ones(60 * 14), (np.repeat(np.arange(60), 14), found[:, 1:].ravel())), shape=(60, 60)
    )
    one_way = (directed - directed.T).toarray() > 0
    assert (joined.toarray()[one_way] > 0).all()


def test_weights_equal_umaps(root):
    golden = root / "tests/golden/umap"
    points = np.loadtxt(golden / "points.csv", delimiter=",")
    row, column, weight = np.loadtxt(golden / "weights.csv", delimiter=",").T
    expected = sparse.coo_array((weight, (row.astype(int), column.astype(int))), shape=(70, 70)).toarray()
    # umap-learn stops its search for sigma at 1e-5 of the sum
    np.testing.assert_allclose(fuzzy_graph(*nearest(points, number=15)).toarray(), expected, atol=2e-5)


def test_leiden_finds_groups_and_names_them_by_size():
    z, label = blobs([20, 50, 30])
    found = communities(z, number=10, resolution=0.1, seed=1)
    assert [found[label == group].tolist() for group in (0, 1, 2)] == [[2] * 20, [0] * 50, [1] * 30]


def test_leiden_is_the_same_for_the_same_seed():
    z, _ = blobs([40, 40, 40], apart=1.0)
    graph = fuzzy_graph(*nearest(z, number=10))
    np.testing.assert_array_equal(leiden(graph, resolution=1, seed=5), leiden(graph, resolution=1, seed=5))


def test_higher_resolution_gives_more_groups():
    z, _ = blobs([80, 80], apart=1.0)
    counts = [communities(z, number=10, resolution=r, seed=1).max() for r in (0.05, 1.0, 4.0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


def test_by_size_breaks_ties_by_order():
    assert by_size(np.array([7, 7, 3, 3, 9])).tolist() == [0, 0, 1, 1, 2]
    assert by_size(np.array([9, 3, 3, 7, 7])).tolist() == [2, 0, 0, 1, 1]


def picture(seed):
    z, label = blobs([40, 60, 50])
    graph = fuzzy_graph(*nearest(z, number=10))
    return umap_layout(graph, start=z[:, :2], epochs=100, rng=np.random.default_rng(seed)), label


def test_picture_keeps_groups_together():
    place, label = picture(0)
    found, _ = nearest(place, number=11)
    assert (label[found[:, 1:]] == label[:, None]).mean() > 0.98


def test_picture_is_the_same_for_the_same_seed():
    np.testing.assert_array_equal(picture(0)[0], picture(0)[0])
    assert not np.array_equal(picture(0)[0], picture(1)[0])
