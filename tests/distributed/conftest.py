"""What the tests on Dask take from those of the command."""

from tests.bulk.conftest import run

__all__ = ["run"]
