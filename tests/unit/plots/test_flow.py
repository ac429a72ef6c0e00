import pandas as pd

from histoweave.plots.flow import participant_flow
from histoweave.plots.style import alternative_text

STEPS = pd.DataFrame(
    [
        (0, "in the table", 12, 0, ""),
        (1, "analysed", 10, 2, "no time (2)"),
        (2, "with slide", 9, 0, ""),
        (2, "with RNA", 8, 0, ""),
    ],
    columns=["level", "step", "n", "left_out", "reason"],
)


def test_every_box_stands_with_its_number():
    texts = [" ".join(text.get_text().split()) for text in participant_flow(STEPS).axes[0].texts]
    assert [text for text in texts if text] == [
        "in the table n = 12",
        "analysed n = 10",
        "2 left out: no time (2)",
        "with slide n = 9",
        "with RNA n = 8",
    ]


def test_boxes_of_one_level_do_not_overlap():
    boxes = sorted((b.get_xy(), b.get_width()) for b in participant_flow(STEPS).axes[0].patches if hasattr(b, "get_xy"))
    bottom = [(x, width) for (x, y), width in boxes if y == min(y for (_, y), _ in boxes)]
    assert len(bottom) == 2
    assert bottom[0][0] + bottom[0][1] < bottom[1][0]


def test_words():
    assert "analysed: 10 (2 left out: no time (2)); with slide: 9" in alternative_text(participant_flow(STEPS))
