"""What `concurrent-exec run --explain` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cassandra.query import UNSET_VALUE

from concurrent_exec.bulk import BulkRun, Chunk
from concurrent_exec.model.statement import statement_text

SAMPLES = 3
"""Records of which the values are shown."""
_LONGEST = 60
"""Characters of a value that are shown."""


def explain(run: BulkRun) -> str:
    """Return what `run` would do, in lines. It reads the first records, and sends nothing."""
    return "".join(f"{line}\n" for line in _lines(run))


def _lines(run: BulkRun) -> Iterator[str]:
    prepared = run.prepared
    yield f"statement    {' '.join(statement_text(prepared).split())}"
    if run.idempotent:
        yield "idempotent   yes: it is tried again, and resumed without asking"
    else:
        yield "idempotent   not known to be: it is not tried again if it may have been applied"
    yield f"routing      {_routing(prepared)}"
    yield f"executor     {run.choice.name}: {run.choice.reason}"
    yield f"concurrency  {run.concurrency}"
    sample = run.sample()
    if run.binding is None or sample is None:
        yield "input        has no records"
        return
    yield ""
    yield from _markers(run.binding, sample)
    unused = [name for name in sample.columns if name not in run.binding.columns]
    if unused:
        yield f"not used: {', '.join(unused)}"


def _routing(prepared: Any) -> str:
    indexes = prepared.routing_key_indexes
    if not indexes:
        return "to any node, as the partition key is not among the markers"
    names = ", ".join(prepared.column_metadata[index].name for index in indexes)
    return f"to a replica of its partition, by {names}"


def _markers(binding: Any, sample: Chunk) -> Iterator[str]:
    explained = binding.explain(sample, SAMPLES)
    rows = [("marker", "type", "column", "as read, and as sent")]
    for each in explained:
        pairs = [f"{_short(value)} -> {_sent(sent)}" for value, sent in each.samples]
        rows.append((each.marker, each.cql, each.column, pairs[0] if pairs else ""))
        rows.extend(("", "", "", pair) for pair in pairs[1:])
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    for row in rows:
        start = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield f"{start}  {row[3]}".rstrip()


def _sent(value: Any) -> str:
    if value is UNSET_VALUE:
        return "unset"
    if isinstance(value, Exception):
        return f"can't be read: {value}"
    return "null" if value is None else _short(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
