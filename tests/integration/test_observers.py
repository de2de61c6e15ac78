"""What observers hear of statements that a real Cassandra answers."""

from __future__ import annotations

from typing import Any

import pytest

from concurrent_exec.observers import LatencyHistogram
from tests.executors import any_executor
from tests.integration.support import MakeExecutor, Rows
from tests.watching import CALLER, Witness

pytestmark = pytest.mark.cluster

COUNT = 300


@any_executor
def test_every_statement_is_told_from_its_start_to_its_end(
    make_executor: MakeExecutor, session: Any, table: str, rows: Rows
) -> None:
    CALLER.set(table)  # which each statement has in its text
    witness, latencies = Witness(), LatencyHistogram()
    with make_executor(session, observers=[witness, latencies]) as executor:
        executor.map(rows.insert, rows.parameters(COUNT)).all()
        missing = f"SELECT missing FROM {table} WHERE run = %s"
        executor.map(missing, [(rows.run,)] * 5, raise_on_first_error=False).all()
        executor.submit(rows.select, (rows.run, 1)).result()
        errors = executor.statistics().errors
    assert not witness.breaches
    assert not witness.unfinished()
    assert len(witness.settled) == COUNT + 6
    assert sum(witness.settled.values()) == COUNT + 1
    assert latencies.count == COUNT + 6
    assert 0 < latencies.percentile(50) <= latencies.percentile(100) < 30
    assert [(each.kind, each.count) for each in errors] == [("InvalidRequest", 5)]
