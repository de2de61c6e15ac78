"""Bulk runs, and executors, by the workers of a Dask cluster (extra `dask`)."""

from concurrent_exec.distributed.cluster import (
    DaskError,
    pool_on,
    run,
    shards_of,
    workers_at,
    workers_on,
)

__all__ = ["DaskError", "pool_on", "run", "shards_of", "workers_at", "workers_on"]
