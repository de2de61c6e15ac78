"""Over which connections `concurrent-exec run` sends."""

from __future__ import annotations

from typing import Any

import pytest
from cassandra.cluster import Cluster
from cassandra.io import asyncioreactor

from concurrent_exec.cli import joined
from concurrent_exec.connect import ConnectionOptions


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `connect` is asked for."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(joined, "connect", lambda options, **named: asked.update(named))
    return asked


def test_they_join_what_they_send(asked: dict[str, Any]) -> None:
    coalescing = pytest.importorskip("concurrent_exec.drivers.coalescing")
    joined.connect_joined(ConnectionOptions(), "shop")
    assert asked == {"keyspace": "shop", "connection_class": coalescing.CoalescingConnection}


def test_another_event_loop_keeps_its_own(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "connection_class", asyncioreactor.AsyncioConnection)
    joined.connect_joined(ConnectionOptions())
    assert asked == {"keyspace": None}


def test_a_driver_that_is_not_known_keeps_its_own(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "is_known_driver", lambda: False)
    joined.connect_joined(ConnectionOptions())
    assert asked == {"keyspace": None}
