"""What `run --explain` says that it would do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cassandra.query import UNSET_VALUE

from concurrent_exec.cli.explain import explain


def a_run(**changes: Any) -> Any:
    columns = [SimpleNamespace(name=name) for name in ("id", "v")]
    prepared = SimpleNamespace(
        query_string="INSERT INTO t\n  (id, v) VALUES (?, ?)",
        column_metadata=columns,
        routing_key_indexes=[0],
    )
    given: dict[str, Any] = {
        "prepared": prepared,
        "idempotent": True,
        "choice": SimpleNamespace(name="direct", reason="it is the fastest"),
        "concurrency": 100,
        "sample": lambda: None,
        "binding": None,
    }
    return SimpleNamespace(**{**given, **changes})


def test_an_input_without_records() -> None:
    assert explain(a_run()).splitlines() == [
        "statement    INSERT INTO t (id, v) VALUES (?, ?)",
        "idempotent   yes: it is tried again, and resumed without asking",
        "routing      to a replica of its partition, by id",
        "executor     direct: it is the fastest",
        "concurrency  100",
        "input        has no records",
    ]


def test_what_each_marker_gets() -> None:
    marker = SimpleNamespace
    explained = [
        marker(
            marker="id", cql="int", column="id", samples=[("1", 1), ("x", ValueError("no int"))]
        ),
        marker(marker="v", cql="text", column="name", samples=[("", UNSET_VALUE), ("-", None)]),
        marker(marker="w", cql="text", column="", samples=[]),
    ]
    binding = SimpleNamespace(columns={"id", "name"}, explain=lambda sample, most: explained)
    sample = SimpleNamespace(ordinals=[0], columns={"id": ["1"], "name": [""], "other": ["-"]})
    run = a_run(
        binding=binding,
        idempotent=False,
        sample=lambda: sample,
    )
    run.prepared.routing_key_indexes = None
    lines = explain(run).splitlines()
    assert lines[1] == (
        "idempotent   not known to be: it is not tried again if it may have been applied"
    )
    assert lines[2] == "routing      to any node, as the partition key is not among the markers"
    assert [" ".join(line.split()) for line in lines[5:]] == [
        "",
        "marker type column as read, and as sent",
        "id int id '1' -> 1",
        "'x' -> can't be read: no int",
        "v text name '' -> unset",
        "'-' -> null",
        "w text",
        "not used: other",
    ]
