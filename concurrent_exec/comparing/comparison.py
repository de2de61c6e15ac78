"""What a comparison found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from concurrent_exec.comparing.choosing import Recommendation, knees, recommend
from concurrent_exec.comparing.row import Row


@dataclass(frozen=True, slots=True)
class Comparison:
    """Strategies and concurrencies, measured side by side on the same statements."""

    statement: str
    """The text of the statement, or how many different ones there were."""
    statements_per_go: int
    rounds: int
    environment: Mapping[str, str]
    """Versions and machine."""
    rows: tuple[Row, ...]
    """In the order of the executors, then of the concurrency."""

    @property
    def knees(self) -> dict[str, Row]:
        """The knee of each executor that has one; `choosing.RULE` says what that is."""
        return knees(self.rows)

    @property
    def recommendation(self) -> Recommendation | None:
        """The way to take, by `choosing.RULE`; None where every way had failures."""
        return recommend(self.rows)

    @property
    def verdict(self) -> str:
        """The recommendation in words."""
        recommendation = self.recommendation
        if recommendation is not None:
            way = f"executor={recommendation.executor!r}, concurrency={recommendation.concurrency}"
            return f"Recommended: {way}. {recommendation.reason}"
        kinds = sorted({kind for row in self.rows for kind in row.errors})
        return f"Recommended: nothing, as statements failed in every way ({', '.join(kinds)})."

    def to_json(self) -> str:
        """Return it as JSON, with knees and recommendation; `from_json` reads it back."""
        held = asdict(self)
        held["knees"] = {name: row.concurrency for name, row in self.knees.items()}
        recommendation = self.recommendation
        held["recommendation"] = None if recommendation is None else asdict(recommendation)
        return json.dumps(held, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Return the comparison that `to_json` has written.

        Raises ValueError where it is not one.
        """
        try:
            held = json.loads(text)
            wanted = {field.name: held[field.name] for field in fields(cls)}
            return cls(**{**wanted, "rows": tuple(map(Row.from_dict, held["rows"]))})
        except (KeyError, TypeError, json.JSONDecodeError) as exc:
            raise ValueError("text must be a comparison, as to_json() has written it") from exc

    def to_text(self, *, width: int = 100) -> str:
        """Return a table for a terminal of `width` columns, and the recommendation.

        Raises ImportError that says what to install where the package rich is missing.
        """
        try:
            from concurrent_exec.comparing.text import render
        except ModuleNotFoundError as exc:
            raise _missing("a table", exc) from exc
        return render(self, width)

    def to_html(self) -> str:
        """Return a page with plots and table, which needs nothing else to be shown.

        Raises ImportError that says what to install where the package matplotlib is missing.
        """
        try:
            from concurrent_exec.comparing.page import render
        except ModuleNotFoundError as exc:
            raise _missing("a page", exc) from exc
        return render(self)


def _missing(what: str, error: ModuleNotFoundError) -> ImportError:
    return ImportError(
        f"{what} needs the package {error.name}: pip install 'concurrent-exec[compare]'",
        name=error.name,
    )
