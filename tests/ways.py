"""In how many ways a driver may talk to the server: protocol, compression, TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

from concurrent_exec.connect import ConnectionOptions, connect
from tests.conftest import OWN_CLUSTER, PROOF, REQUEST_TIMEOUT
from tests.tls import Certificate


class Way(NamedTuple):
    """How the driver talks to the server."""

    protocol_version: int
    compressed: bool
    tls: bool

    def arguments(self, certificate: Certificate) -> dict[str, Any]:
        """Return what makes a driver's Cluster talk so."""
        return {
            "protocol_version": self.protocol_version,
            "compression": "lz4" if self.compressed else False,
            "ssl_context": certificate.client() if self.tls else None,
        }


ALL = {
    "v4": Way(4, compressed=False, tls=False),
    "v4 lz4": Way(4, compressed=True, tls=False),
    "v5": Way(5, compressed=False, tls=False),
    "v4 lz4 tls": Way(4, compressed=True, tls=True),
    "v5 tls": Way(5, compressed=False, tls=True),
}
POSSIBLE = {name: way for name, way in ALL.items() if not (way.tls and OWN_CLUSTER)}
"""A cluster of the user's own need not have TLS."""


def _small(*names: str) -> dict[str, Way]:
    """Return these of the ways where all would take long. v5 with lz4 is what a driver chooses."""
    return {name: way for name, way in POSSIBLE.items() if PROOF or name in names}


WAYS = _small("v4", "v5", "v4 lz4 tls", "v5 tls")
SOME_WAYS = _small("v4", "v5 tls")
"""For what is dear to do."""
NEWEST_WAY = _small("v5")
"""For what the protocol's version decides, or nothing of these."""


@contextmanager
def session_by(
    way: Way, cassandra: ConnectionOptions, keyspace: str, certificate: Certificate, **options: Any
) -> Iterator[Any]:
    """Connect in this way, with a profile as most services have; `options` are of the Cluster."""
    policy = TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=cassandra.local_dc or ""))
    profile = ExecutionProfile(policy, request_timeout=REQUEST_TIMEOUT)
    with connect(
        cassandra,
        keyspace=keyspace,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        **options,
        **way.arguments(certificate),
    ) as session:
        yield session
