"""Whether failures are the cluster's overload, or the few that always are."""

from __future__ import annotations

SHARE = 0.05
"""A share of overloads up to this is borne: it may have nothing to do with the load."""

ALARM = 4.0
"""How many overloads in a row, less the borne share, are an alarm."""


class OverloadAlarm:
    """Goes off when more than `SHARE` of the attempts fail of overload.

    A cumulative sum (E. S. Page, "Continuous Inspection Schemes", Biometrika 41, 1954): it takes
    five overloads in a row, or correspondingly more where successes stand between them.
    """

    __slots__ = ("_excess",)

    def __init__(self) -> None:
        self._excess = 0.0

    def success(self) -> None:
        """Note an attempt that the cluster bore."""
        if self._excess > 0.0:
            self._excess -= SHARE

    def overload(self) -> bool:
        """Note one that it did not bear; return whether that is the alarm, which then is reset."""
        self._excess = max(self._excess, 0.0) + 1 - SHARE
        if self._excess < ALARM:
            return False
        self._excess = 0.0
        return True
