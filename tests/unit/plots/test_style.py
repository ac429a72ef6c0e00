import re

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from histoweave.plots import style


@style.figure_of
def drawn(colour="#0072B2"):
    figure = Figure()
    figure.subplots().plot([0, 1], [1, 0], color=colour)
    return style.describe(figure, "A line\n that   falls.")


def test_equal_figures_give_equal_bytes():
    assert style.svg_text(drawn()) == style.svg_text(drawn())
    assert style.svg_text(drawn()) != style.svg_text(drawn("#D55E00"))


def test_svg_holds_no_time_and_its_words():
    text = style.svg_text(drawn())
    assert "<dc:date>" not in text
    assert not re.search(r"20\d\d-\d\d-\d\dT", text)
    assert "A line that falls." in text


def test_alternative_text_is_kept_in_one_line():
    assert style.alternative_text(drawn()) == "A line that falls."


def test_a_users_settings_do_not_reach_a_figure():
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other"}):
        changed = style.svg_text(drawn())
    assert changed == style.svg_text(drawn())


def test_neighbouring_series_differ_in_colour_and_dashes():
    assert len({style.colour(i) for i in range(7)}) == 7
    assert style.colour(7) == style.colour(0)
    assert len({str(style.dashes(i)) for i in range(4)}) == 4


@pytest.mark.parametrize(
    ("label", "width", "lines"),
    [("path_gptomic_slide adjusted", 20, ["path_gptomic_slide", "adjusted"]), ("path_gptomic_slide", 13, None)],
)
def test_wrapped_keeps_every_letter(label, width, lines):
    found = style.wrapped(label, width).split("\n")
    assert all(len(line) <= width for line in found)
    assert "".join(found).replace(" ", "") == label.replace(" ", "")
    assert lines is None or found == lines


def test_listed():
    assert style.listed([]) == "none"
    assert style.listed(["a"]) == "a"
    assert style.listed(["a", "b", "c"]) == "a, b and c"
    assert style.listed("abcde", most=2) == "a, b and 3 more"


def test_note_is_svg_that_escapes():
    text = style.note_svg("Not drawn: <b> & more")
    assert "&lt;b&gt; &amp; more" in text
    assert text.startswith("<svg")
