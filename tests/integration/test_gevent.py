"""Under gevent's monkey-patching, as some services run: the client is a process of its own."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest

from concurrent_exec.connect import ConnectionOptions
from tests.conftest import PROOF
from tests.integration import gevent_client
from tests.integration.support import ended

pytestmark = pytest.mark.cluster

HAS_OWN = find_spec("cassandra.io.geventreactor") is not None
"""Whether the driver has a reactor for gevent: scylla-driver has none any more."""
REACTORS = []
"""Those that know nothing of gevent, and need not: what they wait with is patched. Not the one on
libev, which is C and would wait for ever."""
if PROOF or not HAS_OWN:
    REACTORS += ["cassandra.io.asyncioreactor:AsyncioConnection"]
if PROOF:
    REACTORS += ["cassandra.io.asyncorereactor:AsyncoreConnection"]


def client(cassandra: ConnectionOptions, *arguments: str) -> dict[str, Any]:
    """Return what a client has seen; each executor was used, stopped and left idle."""
    module = gevent_client.__name__
    done = ended(cassandra, "-m", "gevent.monkey", "--module", module, *arguments)
    seen: dict[str, Any] = json.loads(done.stdout)
    for told in seen.values():
        if isinstance(told, dict):
            started = told.pop("started")
            assert gevent_client.COUNT <= started <= gevent_client.COUNT + gevent_client.WINDOW
    return seen


USED = {"failed with": "InvalidRequest", "in flight": 0, "runs": 0, "others went on": True}


if REACTORS:

    @pytest.mark.parametrize("reactor", REACTORS)
    def test_every_executor_works_under_gevent(
        reactor: str, cassandra: ConnectionOptions, table: str
    ) -> None:
        assert client(cassandra, table, reactor) == {
            **dict.fromkeys(("callback", "thread", "batch", "direct"), USED),
            "auto": "direct",
            "reactor": reactor.rpartition(":")[2],
        }


if HAS_OWN:

    def test_what_works_on_the_drivers_reactor_for_gevent(
        cassandra: ConnectionOptions, table: str
    ) -> None:
        seen = client(cassandra, table)
        assert "connections of the class GeventConnection are not known" in seen.pop("direct")
        assert seen == {
            **dict.fromkeys(("callback", "thread", "batch"), USED),
            "auto": "callback",
            "reactor": "GeventConnection",
        }
