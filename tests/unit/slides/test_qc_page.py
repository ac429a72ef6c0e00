import numpy as np
import pandas as pd

from histoweave.slides.qc_page import COLOURS, contact_sheet, draw_page

THUMBNAIL = np.full((200, 150, 3), 240, dtype=np.uint8)


def test_tiles_and_outline_stand_where_they_are():
    tiles = pd.DataFrame({"x": [100, 500], "y": [200, 800], "status": ["ok", "blurred"]})
    ring = np.array([[0, 0], [1000, 0], [1000, 1400], [0, 0]])
    page = draw_page(THUMBNAIL, downsample=10.0, polygons=[[ring]], tiles=tiles, side=300.0, facts={"slide": "S1"})
    assert page.shape == (200, 450, 3)
    assert tuple(page[20, 25]) == COLOURS["ok"]
    assert tuple(page[80, 60]) == COLOURS["blurred"]
    assert tuple(page[30, 25]) == (240, 240, 240)
    assert (page[:, 160:] != 255).any()
    assert tuple(page[70, 100]) not in (COLOURS["ok"], (240, 240, 240))  # the outline's right side


def test_the_sheet_has_a_cell_for_each_slide_with_or_without_a_picture():
    dark = np.zeros((100, 100, 3), dtype=np.uint8)
    sheet = contact_sheet([("S1", "ok", dark), ("S2", "failed", None), ("S3", "ok", dark)], cell=100, columns=2)
    assert sheet.shape == (240, 200, 3)
    assert (sheet[60, 50] == 0).all()
    assert (sheet[60, 150] == 255).all()
    assert (sheet[180, 50] == 0).all()
    assert (sheet[:20, 100:] != 255).any()


def test_a_cohort_without_slides_has_an_empty_sheet():
    assert (contact_sheet([], cell=50, columns=3) == 255).all()
