"""The same service with a semaphore of asyncio, as many write it by hand."""

from __future__ import annotations

import asyncio
from typing import Any

from examples.service.app import CONCURRENCY, service
from examples.service.posts import LATEST


class BySemaphore:
    """Reads by a task for each statement; the semaphore is for all requests.

    One that is cancelled gives its place away, though its statement is still in flight.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._latest = session.prepare(LATEST)
        self._places = asyncio.Semaphore(CONCURRENCY)
        self._in_flight = 0

    async def latest(self, authors: list[tuple[int]]) -> list[str]:
        return await asyncio.gather(*map(self._one, authors))

    async def _one(self, parameters: tuple[int]) -> str:
        async with self._places:
            self._in_flight += 1
            try:
                rows = await self._answer(parameters)
            finally:
                self._in_flight -= 1
        return str(rows[0].text)

    async def _answer(self, parameters: tuple[int]) -> Any:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        def settle(settle_it: Any, outcome: Any) -> None:
            if not answer.done():  # it may have been cancelled
                settle_it(outcome)

        self._session.execute_async(self._latest, parameters).add_callbacks(
            lambda rows: loop.call_soon_threadsafe(settle, answer.set_result, rows),
            lambda error: loop.call_soon_threadsafe(settle, answer.set_exception, error),
        )
        return await answer

    def health(self) -> dict[str, Any]:
        return {"concurrency": CONCURRENCY, "in_flight": self._in_flight}

    async def close(self) -> None:
        pass


app = service(BySemaphore)
