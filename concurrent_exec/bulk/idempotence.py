"""Whether a statement may be sent again, so far as its text tells."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from concurrent_exec.retry.cql import Token, text_of, tokens
from concurrent_exec.retry.statements import (
    is_conditional,
    is_counter_update,
    is_idempotent,
    is_read,
)

_WRITES = frozenset({"insert", "update", "delete"})
_PURE = frozenset({"values", "in", "token", "ttl", "writetime", "json", "and", "where", "as"})
"""Words before a parenthesis that are no functions, or functions of their arguments alone."""


def may_be_resent(statement: Any) -> bool:
    """Return whether `statement`, a prepared one, comes to the same however often it is applied.

    It does if its author says so, or if it is a SELECT, or an INSERT, UPDATE or DELETE that sets
    values and no more: which is no lightweight transaction, updates no counter, calls no function
    (now() and uuid() give another value each time), adds nothing to a collection (a list would
    grow again) and has no index in brackets (deleting the first of a list twice deletes two). It
    errs towards False.
    """
    if is_idempotent(statement) or is_read(statement):
        return True
    text = text_of(statement)
    if text is None or is_conditional(statement) or is_counter_update(statement):
        return False
    found = list(tokens(text))
    if not found or found[0].text not in _WRITES:
        return False
    table_named = False
    for before, token in pairwise(found):
        if token.kind == "symbol" and token.text in "+-[" and _is_operand(before):
            return False
        if token.text == "(" and before.kind in ("word", "quoted"):
            # The first one may stand behind the table's name: INSERT INTO t (id) VALUES ...
            if found[0].text == "insert" and not table_named:
                table_named = True
            elif before.text not in _PURE:
                return False
    return True


def _is_operand(token: Token) -> bool:
    """Say whether a sign or bracket behind `token` is about its value."""
    return token.kind != "symbol" or token.text in "?)]}"
