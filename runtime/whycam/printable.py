"""Text from elsewhere, made fit for a terminal or a line of a log."""

from __future__ import annotations


def printable(text: object) -> str:
    """`text` in one line that does nothing to a terminal: what is not printable is escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in str(text)
    )
