"""Bulk runs, and executors, by the workers of a Dask cluster (extra `dask`)."""

from concurrent_exec.distributed.cluster import pool_on, run, shards_of, workers_at, workers_on
from concurrent_exec.executors.dask_pool import DaskError

__all__ = ["DaskError", "pool_on", "run", "shards_of", "workers_at", "workers_on"]
