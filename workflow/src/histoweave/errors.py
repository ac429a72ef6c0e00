"""The one exception that a user can mend."""


class InputError(Exception):
    """Something that the user gave cannot be used as it is.

    The message is one sentence or two: what is wrong, how many, the first case,
    and which config key, table row or file to change. Scripts print it as one line
    and end with exit code 2.
    """


def counted(number: int, noun: str) -> str:
    """``1 fold``, ``2 folds``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shorten(names: list[str], *, most: int = 3) -> str:
    """First `most` of `names`, quoted, with the number left out: ``'a', 'b' (+4 more)``."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} (+{len(names) - most} more)"
