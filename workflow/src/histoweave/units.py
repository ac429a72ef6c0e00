"""Units as types, so that a pixel is never added to a micrometre."""

from typing import NewType

Level0Px = NewType("Level0Px", int)
"""Pixel of the slide at full resolution."""

Micrometres = NewType("Micrometres", float)
"""Length on the glass."""

UmPerPx = NewType("UmPerPx", float)
"""Resolution ("mpp"): micrometres on the glass per pixel."""

Days = NewType("Days", float)
"""Time since the start of follow-up."""
