"""What plain answers come to: ResultSets of the driver's, without a ResponseFuture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cassandra.query import named_tuple_factory

from concurrent_exec.drivers.direct.driver import Driver, columns_of, is_warned_void
from concurrent_exec.drivers.direct.go import Target
from concurrent_exec.drivers.direct.plan import Framed
from concurrent_exec.drivers.pages import count_rows, joined
from concurrent_exec.drivers.requests import named_tuples
from concurrent_exec.drivers.results import rows_result, rows_results


def plain_result(driver: Driver, plan: Framed, host: Any, response: Any) -> Any:
    """Return the result of an answer with rows or warnings and nothing else, or None for others.

    plan, host: how the statement was sent, and where to.
    response: the driver's message.
    """
    factory = plan.row_factory
    if is_warned_void(response):
        return rows_result(None, None, None, host, factory, warnings=response.warnings)
    if not driver.is_plain_rows(response):
        return None
    try:
        make = named_tuples if factory is named_tuple_factory else factory
        rows = make(response.column_names, response.parsed_rows)
    except Exception:
        return None
    return rows_result(response.column_names, response.column_types, rows, host, factory)


def page_results(
    driver: Driver, plan: Framed, target: Target, bodies: Sequence[bytes]
) -> list[Any]:
    """Return the results of pages of rows, of which the driver decodes all short ones at once.

    plan, target: how the statements were sent, and where to.
    bodies: of the answers.

    None stands for one that is to be decoded alone: as it is long, or as something is wrong, which
    may be another's. Never raises.
    """
    alone = [None] * len(bodies)
    if len(bodies) == 1:
        return alone
    try:
        head, counts = _counted(plan, target, bodies)
        whole = [body for body, count in zip(bodies, counts, strict=True) if count is not None]
        if len(whole) <= 1:
            return alone
        message = driver.decode_body(
            target.connection, joined(whole, head, sum(filter(None, counts))), plan.result_metadata
        )
        names, types, rows = message.column_names, message.column_types, message.parsed_rows
        make = plan.row_factory
        if make is named_tuple_factory:
            rows, make = named_tuples(names, rows), _as_they_are
        pages = _split(names, rows, counts, make)
    except Exception:
        return alone
    return rows_results(names, types, pages, target.host, plan.row_factory)


def _counted(
    plan: Framed, target: Target, bodies: Sequence[bytes]
) -> tuple[bytes, list[int | None]]:
    """Return what the pages begin with, and the rows of each; None for one that goes alone."""
    # What they began with the last time, unless the table has been altered since.
    if plan.columns is None or not bodies[0].startswith(plan.columns[0]):
        types = target.connection.user_type_map
        plan.columns = columns_of(bodies[0], types, plan.result_metadata)
    head, columns = plan.columns
    return head, [count_rows(body, head, columns) for body in bodies]


def _split(
    names: Any, rows: Sequence[Any], counts: Iterable[int | None], make: Callable[..., Any]
) -> list[Any]:
    pages: list[Any] = []
    at = 0
    for count in counts:
        if count is None:
            pages.append(None)
            continue
        try:
            # The names are a list of each one's own: it may do with them what it likes.
            pages.append(make(list(names), rows[at : at + count]))
        except Exception:  # of a row factory of the user's
            pages.append(None)
        at += count
    return pages


def _as_they_are(names: Any, rows: Any) -> Any:
    return rows
