"""The statements of a bulk run, and what becomes of each, told to a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from concurrent_exec.bulk.ledger import Ledger
from concurrent_exec.bulk.outputs import row_columns
from concurrent_exec.executors import Executor
from concurrent_exec.model import DeadlineExceededError, ExecutionResult
from concurrent_exec.retry.statements import is_conditional
from concurrent_exec.run import Results


class Settling:
    """Sends one statement with many parameters, and settles each record in a ledger."""

    def __init__(
        self,
        prepared: Any,
        *,
        idempotent: bool,
        in_order: bool,
        gives_up: Callable[[], bool],
        **options: Any,
    ) -> None:
        """Make one of a prepared statement.

        idempotent: whether it may be sent again that may have been applied.
        in_order: whether records are settled in the order of the input, as rows are put out.
        gives_up: says whether what fails may fail because the run was stopped.
        options: of the executor's run.
        """
        self._prepared = prepared
        self._idempotent = idempotent
        self._in_order = in_order
        self._gives_up = gives_up
        self._options = options
        self._conditional = is_conditional(prepared)
        self._brings_rows = bool(row_columns(prepared))

    def settle_all(
        self, ledger: Ledger, executor: Executor[Any], parameters: Iterable[Any]
    ) -> bool:
        """Send all, and settle it; say whether all of it is settled.

        Raises what the input does, and ExecutorShutdownError where the executor was shut down.
        """
        with executor.map(
            self._prepared,
            parameters,
            raise_on_first_error=False,
            assume_idempotent=self._idempotent,
            **self._options,
        ) as results:
            ledger.retries = lambda: results.statistics().retries
            settle = self._settle_in_order if self._in_order else self._settle_as_completed
            return settle(ledger, results)

    def _settle_as_completed(self, ledger: Ledger, results: Results[Any]) -> bool:
        whole = True
        for completed in results.lists_as_completed():
            if not (self._brings_rows or self._conditional):
                done = [index for index, result in completed if result.success]
                ledger.succeeded(done)
                if len(done) == len(completed):
                    continue
                completed = [each for each in completed if not each[1].success]
            for index, result in completed:
                settle = self._settle_rows if result.success else self._settle_failure
                whole = settle(ledger, index, result) and whole
        return whole

    def _settle_in_order(self, ledger: Ledger, results: Results[Any]) -> bool:
        for index, result in enumerate(results):
            if result.success:
                settled = self._settle_rows(ledger, index, result)
            else:
                settled = self._settle_failure(ledger, index, result)
            if not settled:  # the rows of those behind it would come before its own
                return False
        return True

    def _settle_rows(self, ledger: Ledger, index: int, result: ExecutionResult[Any]) -> bool:
        answer: Any = result.result_or_exc
        try:
            applied = not self._conditional or answer.was_applied
            rows = list(answer) if self._brings_rows else None  # further pages are fetched here
        except Exception as error:
            return self._settle_error(ledger, index, error, 1)
        ledger.answered(index, rows, applied)
        return True

    def _settle_failure(self, ledger: Ledger, index: int, result: ExecutionResult[Any]) -> bool:
        error: Any = result.result_or_exc
        attempts = result.attempts or 0
        if not attempts and isinstance(error, DeadlineExceededError):
            return False  # its turn has not come in time
        return self._settle_error(ledger, index, error, attempts)

    def _settle_error(
        self, ledger: Ledger, index: int, error: BaseException, attempts: int
    ) -> bool:
        if self._idempotent and self._gives_up():
            return False  # it might have been tried again: a resumed run does
        ledger.failed(index, error, attempts)
        return True
