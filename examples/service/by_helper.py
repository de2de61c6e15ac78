"""The same service with the drivers' helper, in a thread, since it blocks."""

from __future__ import annotations

import asyncio
from typing import Any

from cassandra.concurrent import execute_concurrent_with_args

from examples.service.app import CONCURRENCY, service
from examples.service.posts import LATEST


class ByHelper:
    """Reads by `execute_concurrent_with_args`: its limit is for each request, and the number of
    asyncio's threads is that of the requests that it serves at once.

    What is cancelled goes on in its thread to the end.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._latest = session.prepare(LATEST)

    async def latest(self, authors: list[tuple[int]]) -> list[str]:
        return await asyncio.to_thread(self._read, authors)

    def _read(self, authors: list[tuple[int]]) -> list[str]:
        results = execute_concurrent_with_args(
            self._session, self._latest, authors, concurrency=CONCURRENCY
        )
        return [result.result_or_exc.one().text for result in results]

    def health(self) -> dict[str, Any]:
        return {"concurrency": CONCURRENCY}

    async def close(self) -> None:
        pass


app = service(ByHelper)
