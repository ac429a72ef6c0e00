"""The look that all figures share, and a figure as SVG text whose bytes depend on its content alone."""

import functools
import html
import io
import textwrap
from collections.abc import Callable, Sequence
from typing import ParamSpec

import matplotlib as mpl
from matplotlib.figure import Figure

P = ParamSpec("P")

# Okabe and Ito's colours (https://jfly.uni-koeln.de/color), told apart with all common kinds of colour blindness.
# Their yellow is left out: it is too light for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#767676"
PALE = "#E8E8E8"
DASHES: tuple = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))

_LOOK = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.dpi": 100,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that sizes are the same on every machine
    "font.size": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 144,
    "svg.fonttype": "path",
    "svg.hashsalt": "histoweave",
}


def figure_of(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a plot function so that it draws in the common look, whatever the user's matplotlibrc says."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(mpl.rcParamsDefault | _LOOK):
            return draw(*args, **kwargs)

    return styled


def describe(figure: Figure, text: str) -> Figure:
    """Give `figure` its alternative text, which :func:`alternative_text` reads again."""
    figure.set_label(" ".join(text.split()))
    return figure


def alternative_text(figure: Figure) -> str:
    """What `figure` shows, in words."""
    return str(figure.get_label())


def colour(number: int) -> str:
    """Colour of the `number`-th series; colours repeat after seven."""
    return COLOURS[number % len(COLOURS)]


def dashes(number: int) -> object:
    """Line style of the `number`-th series, so that no series is told by colour alone."""
    return DASHES[number % len(DASHES)]


def wrapped(label: str, width: int) -> str:
    """`label` broken into lines of at most `width` characters, at spaces, and at underscores of long words."""
    words = [word if len(word) <= width else word.replace("_", "_ ") for word in label.split()]
    lines = textwrap.wrap(" ".join(words), width)
    return "\n".join(line.replace("_ ", "_") for line in lines)


def svg_text(figure: Figure) -> str:
    """Return `figure` as SVG text without date or creator: equal figures give equal bytes."""
    title = alternative_text(figure)
    with mpl.rc_context(mpl.rcParamsDefault | _LOOK):
        file = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Description": title}
        figure.savefig(file, format="svg", metadata=metadata, bbox_inches="tight", pad_inches=0.05)
    return file.getvalue()


def listed(names: Sequence[str], *, most: int = 12) -> str:
    """`names` as a phrase: ``a, b and c``; those beyond `most` are counted."""
    names = [str(name) for name in names]
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def note_svg(text: str) -> str:
    """SVG text that shows `text` alone, in place of a figure that could not be drawn."""
    lines = "".join(
        f'<tspan x="10" dy="18">{html.escape(line)}</tspan>' for line in textwrap.wrap(text, 80) or ["Not drawn."]
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="90" viewBox="0 0 640 90">'
        f'<text y="10" font-family="sans-serif" font-size="14" fill="{GREY}">{lines}</text></svg>\n'
    )
