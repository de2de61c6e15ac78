"""A service that reads 500 rows for each request, through one executor for all requests.

    python -m examples.service.posts
    uvicorn examples.service.app:app

GET /feed/7 gives the latest post of each author that reader 7 follows; GET /health gives what the
executor is doing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import asdict
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from concurrent_exec import DirectExecutor, Executor
from concurrent_exec.aio import AsyncExecutor
from concurrent_exec.connect import connect
from examples.service.leaving import unless_gone
from examples.service.posts import LATEST, followed_by

CONCURRENCY = 100


class Posts(Protocol):
    """What reads posts: by an executor here, by other means in the files beside this one."""

    async def latest(self, authors: list[tuple[int]]) -> list[str]: ...
    def health(self) -> dict[str, Any]: ...
    async def close(self) -> None: ...


class ByExecutor:
    """Reads through an executor whose limit holds over all requests."""

    def __init__(self, executor: Executor[Any]) -> None:
        session: Any = executor.session
        self._executor = AsyncExecutor(executor)
        self._latest = session.prepare(LATEST)

    async def latest(self, authors: list[tuple[int]]) -> list[str]:
        results = await self._executor.map(self._latest, authors)
        return [result.unwrap().one().text for result in results]

    def health(self) -> dict[str, Any]:
        return asdict(self._executor.statistics())

    async def close(self) -> None:
        await self._executor.shutdown(cancel_futures=True)


async def feed(request: Request) -> Response:
    reader = request.path_params["reader"]
    texts = await unless_gone(request, request.state.posts.latest(followed_by(reader)))
    return Response(status_code=499) if texts is None else JSONResponse(texts)


async def health(request: Request) -> Response:
    return JSONResponse(request.state.posts.health())


def service(
    read_by: Callable[[Any], Posts],
    open_session: Callable[[], AbstractContextManager[Any]] = connect,
) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Posts]]:
        with open_session() as session:  # which blocks, but nobody is served yet
            posts = read_by(session)
            yield {"posts": posts}
            await posts.close()

    routes = [Route("/feed/{reader:int}", feed), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan)


app = service(lambda session: ByExecutor(DirectExecutor(session, concurrency=CONCURRENCY)))
