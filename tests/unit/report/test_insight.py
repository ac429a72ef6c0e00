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
    assert [block.tone for block in section.blocks] == ["", "missing"]
