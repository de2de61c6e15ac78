"""The ledger of one portion: it holds what it writes, for the ledger of the run to take in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from concurrent_exec.bulk.appending import Appender
from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.journal import Entry
from concurrent_exec.bulk.ledger import Files, Ledger
from concurrent_exec.bulk.outputs import Output
from concurrent_exec.bulk.portions import Portion, Settlement, Task
from concurrent_exec.bulk.records import Chunk
from concurrent_exec.bulk.settled import Settled
from concurrent_exec.model import WorkerLostError


class PortionLedger(Ledger):
    """Settles the records of a portion that are not settled yet."""

    def __init__(
        self,
        task: Task,
        portion: Portion,
        *,
        passed_budget: Callable[[int, int], bool] = lambda failed, finished: False,
        over_budget: Callable[[], object] = lambda: None,
    ) -> None:
        """Make one; of the budget see `Ledger`."""
        self._portion = portion
        self._held = Held(), Held(), Rows()
        failed, not_found, rows = self._held
        super().__init__(
            Files(
                failed=failed,
                # It is asked for no more: there is no journal here.
                output=cast(Output, rows) if task.keeps_rows else None,
                not_found=not_found if task.keeps_not_found else None,
            ),
            Entry(done=portion.first, beyond=tuple(portion.beyond)),
            with_keys=task.with_keys,
            passed_budget=passed_budget,
            over_budget=over_budget,
        )

    def opens_all(
        self, chunks: Sequence[Chunk], binding: Binding | None
    ) -> tuple[list[int], list[Any]]:
        """Take in the portion's records, those that can't be sent as rejected; return ordinals and
        parameters of the others.

        binding: None where there are no records.
        """
        ordinals: list[int] = []
        parameters: list[Any] = []
        beyond = self._portion.beyond
        before = Settled(self._portion.first, beyond)
        for chunk in chunks:
            assert binding is not None
            some, values, rejected = binding.bind(chunk)
            parameters += self.opens(chunk, some, values, [*chunk.rejected, *rejected])
            ordinals += some if not beyond else (n for n in some if not before.has(n))
        return ordinals, parameters

    def loses(self, count: int) -> None:
        """Settle all that could be sent, so many, as lost with the process that had them."""
        for index in range(count):
            self.failed(index, WorkerLostError(self._portion.lost or ""), 1)

    def settlement(self) -> Settlement:
        """Return what has become of the portion."""
        failed, not_found, rows = self._held
        return Settlement(
            settled=self.settled_here(),
            counts=dict(self.counts),
            kinds=dict(self.kinds),
            examples=self.examples,
            failed=failed.all(),
            not_found=not_found.all(),
            retries=self.retries(),
            rows=rows.rows,
        )


def lost(task: Task, portion: Portion, binding: Binding | None) -> Settlement:
    """Return what has become of a portion that is lost and has its records."""
    chunks = portion.chunks or ()
    ledger = PortionLedger(task, portion)
    _, parameters = ledger.opens_all(chunks, binding)
    ledger.loses(len(parameters))
    settlement = ledger.settlement()
    settlement.end = end_of(portion, chunks)
    return settlement


def end_of(portion: Portion, chunks: Sequence[Chunk]) -> int:
    """Return the ordinal after the last record of a portion."""
    return max((each.first + each.count for each in chunks), default=portion.first)


class Held(Appender):
    """Holds what is written, to be written elsewhere."""

    def __init__(self) -> None:
        """Make one that has nothing."""
        self.path = Path("another process")
        self._data: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See `Appender`."""
        self._data.append(data)

    def all(self) -> bytes:
        """Return all that was written."""
        return b"".join(self._data)


class Rows:
    """Holds rows, to be put out elsewhere."""

    def __init__(self) -> None:
        """Make one that has none."""
        self.rows: list[Sequence[Any]] = []

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """See `Output`."""
        self.rows += rows
