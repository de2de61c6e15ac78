"""Load a large CSV file: 336,776 flights, or as many as are asked for.

    python -m examples.load_csv [FLIGHTS]

Columns meet the markers of the statement by their names, "NA" is a missing value, and a record that
can't be read or written stops nothing: it goes to flights.failed.jsonl, with the reason.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from concurrent_exec import bulk
from concurrent_exec.connect import connect
from examples import flights


def main(most: int | None = None) -> None:
    with connect() as session, TemporaryDirectory() as folder:
        flights.make_table(session)
        report = bulk.run(
            session,
            flights.INSERT,
            bulk.open_source([str(flights.unpacked(Path(folder)))]),
            converting=bulk.ConvertingOptions(nulls=["NA"]),
            failed_file="flights.failed.jsonl",
            overwrite=True,
            limit=most,
        )
    print(
        f"{report.succeeded:,} flights loaded at {report.per_second:,.0f}/s, "
        f"{report.failed + report.rejected} failed"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
