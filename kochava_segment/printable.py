"""Text of strangers as it can be shown: it steers no terminal, and forges no line of a log."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text, with everything that is not printed written as Python writes it in a string: `\x1b`.

    That is control characters, which terminals obey; line ends, behind which a log would have a line
    of its own; and what turns the direction of reading.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
