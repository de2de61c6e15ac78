"""What a statement does, so far as that can be told from its text and its metadata.

Nothing here decides by what it can't see: each function says which way it errs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cassandra.query import BatchStatement, BatchType

from concurrent_exec.retry.cql import NOTHING, Token, prepared_of, text_of, tokens

_SINGLE_PARTITION = frozenset({"INSERT", "UPDATE", "DELETE"})
_SCHEMA = frozenset({"CREATE", "ALTER", "DROP"})
_MARKERS = frozenset("?:%")
_COLLECTIONS = frozenset("[{")


def _members(batch: Any) -> list[str | None]:
    """The text of each statement in a batch; None for a prepared one, of which it has the id."""
    # No public name leads to them. On a driver that has them no longer, all count as unseen.
    held = getattr(batch, "_statements_and_parameters", None)
    if not isinstance(held, list):
        return [None] * len(batch)
    return [None if is_prepared else text for is_prepared, text, _ in held]


def is_idempotent(statement: Any) -> bool:
    """Return whether its author said so; a plain string has no way to say it.

    A bound statement has it from its prepared one, a batch never from the statements in it: both
    drivers leave a batch's at False until it is set.
    """
    return bool(getattr(statement, "is_idempotent", False))


def is_read(statement: Any) -> bool:
    """Return whether it is known to be a SELECT, which applies nothing however often it runs.

    A read at a serial consistency level may finish the conditional write of another, which that
    one has already proposed; it adds none of its own.
    """
    text = text_of(statement)
    return text is not None and next(tokens(text), NOTHING) == ("word", "select")


def is_conditional(statement: Any) -> bool:
    """Return whether it is a lightweight transaction, or can't be told from one.

    Errs towards True, but for prepared statements in a batch under cassandra-driver, which can't
    be seen: those are not taken for conditional ones.
    """
    is_lwt = getattr(statement, "is_lwt", None)  # only scylla-driver's; a server tells it
    if callable(is_lwt) and is_lwt():
        return True
    if isinstance(statement, BatchStatement):
        return any(text is not None and is_conditional(text) for text in _members(statement))
    text = text_of(statement)
    if text is None:
        return False
    found = list(tokens(text))
    # IF is a reserved word: unquoted it names no column. BEGIN TRANSACTION is Cassandra's general
    # transaction, which reads and decides as a lightweight one does.
    words = [token.text for token in found if token.kind == "word"]
    if [token.text for token in found[:2]] == ["begin", "transaction"]:
        return True
    return "if" in words and words[0].upper() not in _SCHEMA


def is_counter_update(statement: Any) -> bool:
    """Return whether it is an update of counters, or can't be told from one.

    A prepared statement is judged by the types of its parameters. The text of another does not
    tell `SET c = c + ?` of a counter from that of a collection, so both count as counters, unless
    what is added is a collection in so many words. Prepared statements in a batch can't be seen:
    those are counters only in a batch of type COUNTER.
    """
    if isinstance(statement, BatchStatement):
        return statement.batch_type is BatchType.COUNTER or any(
            text is not None and is_counter_update(text) for text in _members(statement)
        )
    text = text_of(statement)
    if text is None:
        return False
    columns = getattr(prepared_of(statement), "column_metadata", None) or ()
    if any(getattr(column.type, "typename", None) == "counter" for column in columns):
        return True
    found = list(tokens(text))
    if [token.text for token in found[:2]] == ["begin", "counter"]:
        return True
    for operand in _added(found):
        if operand.text in _COLLECTIONS:
            continue
        if columns and operand.text in _MARKERS:
            continue  # of a type that we have just seen to be no counter
        return True
    return False


def _added(tokens: list[Token]) -> Iterator[Token]:
    """The first token of whatever is added to a column or taken from it."""
    padded = [*tokens, *[NOTHING] * 4]
    for name, first, second, third, fourth in zip(
        padded, padded[1:], padded[2:], padded[3:], padded[4:], strict=False
    ):
        if name.kind not in ("word", "quoted"):
            continue
        # c = c + 1, and c = c - 1 also without a blank; a name means the same in quotes
        if first.text == "=" and second.kind in ("word", "quoted") and second.text == name.text:
            if third.kind == "symbol" and third.text in "+-":
                yield fourth
        # c += 1
        elif first.kind == "symbol" and first.text in "+-" and second.text == "=":
            yield third


def is_single_partition_write(statement: Any) -> bool:
    """Return whether it is known to write to one partition.

    That is an INSERT, or an UPDATE or DELETE without IN, or a batch of just one of these whose
    text can be seen. An IN may be about clustering columns only; it counts as several partitions.
    """
    if isinstance(statement, BatchStatement):
        members = _members(statement)
        return (
            len(members) == 1 and members[0] is not None and is_single_partition_write(members[0])
        )
    text = text_of(statement)
    if text is None:
        return False
    words = [token.text.upper() for token in tokens(text) if token.kind == "word"]
    return bool(words) and words[0] in _SINGLE_PARTITION and "IN" not in words
