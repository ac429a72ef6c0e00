from unit.report.test_page import run_of

from histoweave.report import insight


def block(section, name):
    return next(block for block in section.blocks if getattr(block, "name", "") == name)


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_inputs_are_means_over_folds_the_largest_first(root, results):
    table = block(insight.heatmaps_section(run_of(root, results)), "inputs")
    assert texts(table) == [
        ["abmil_wsi", "gene", "GENE0001", "0.305", "0.100"],
        ["abmil_wsi", "gene", "GENE0002", "0.205", "0.100"],
        ["abmil_wsi", "tile_feature", "area", "0.405", "0.100"],
    ]


def test_checks_are_summed_up(root, results):
    table = block(insight.heatmaps_section(run_of(root, results)), "explanation-checks")
    assert texts(table) == [["abmil_wsi", "completeness", "0.010", "0", "0.020", "3"]]


def test_without_explanations_there_is_no_table(root, tmp_path):
    section = insight.heatmaps_section(run_of(root, tmp_path))
    assert [getattr(block, "name", "") for block in section.blocks] == [""]


def test_modules_are_listed_by_size_with_some_genes(root, results):
    table = block(insight.genes_section(run_of(root, results)), "modules")
    assert [row[:2] for row in texts(table)] == [["0", "20"], ["1", "20"], ["2", "20"]]
    assert texts(table)[0][2].startswith("GENE0000, GENE0003")


def test_graph_measures_link_to_their_rows(root, results):
    table = block(insight.genes_section(run_of(root, results)), "graph-metrics")
    assert list(table.rows_of) == [0, 1]
    assert texts(table)[0] == ["musegnn", "retention", "0.600 (no interval)"]
