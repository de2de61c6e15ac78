"""Every touch of a driver, and of a driver's internals."""

try:
    import cassandra.cluster  # noqa: F401
except ModuleNotFoundError as exc:
    if exc.name is None or exc.name.partition(".")[0] != "cassandra":
        raise
    raise ImportError(
        "concurrent_exec needs a driver, and none is installed: "
        "pip install 'concurrent-exec[cassandra]' for cassandra-driver, "
        "or pip install 'concurrent-exec[scylla]' for scylla-driver "
        "(one of them: they can't share an environment)"
    ) from exc

from concurrent_exec.drivers.keys import partition_key
from concurrent_exec.drivers.requests import answer, answered, sent
from concurrent_exec.drivers.results import detached, result_set
from concurrent_exec.drivers.timestamps import FirstTimestamps
from concurrent_exec.drivers.writes import Write, Writes, batch_of

__all__ = [
    "FirstTimestamps",
    "Write",
    "Writes",
    "answer",
    "answered",
    "batch_of",
    "detached",
    "partition_key",
    "result_set",
    "sent",
]
