"""How a statement is named in messages, without the values that are bound to it."""

from __future__ import annotations

from typing import Any

TEXT_LIMIT = 500
"""Characters of a statement's text that a message shows; a longer one is cut."""


def statement_text(statement: Any) -> str:
    """Return the CQL text of `statement`, or its type's name where it has none.

    `statement` is whatever the session takes: a string, a SimpleStatement, a PreparedStatement,
    a BoundStatement (the text of its prepared statement) or a BatchStatement (how many
    statements it holds).
    """
    if isinstance(statement, str):
        return statement
    for owner in (statement, getattr(statement, "prepared_statement", None)):
        text = getattr(owner, "query_string", None)
        if isinstance(text, str):
            return text
    name = type(statement).__name__
    if name == "BatchStatement":
        return f"{name} of {len(statement)} statements"
    return name


def short_text(statement: Any) -> str:
    """Return `statement_text(statement)` on one line, cut to `TEXT_LIMIT` characters."""
    text = " ".join(statement_text(statement).split())
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 3] + "..."
