"""What a command needs beside the library: looked for at once, before anything is done."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import Refused


def need(package: str, what: str) -> None:
    """Raise Refused, which says what to install, where `what` needs a package that is not there."""
    if find_spec(package) is None:
        raise Refused(
            f"{what} needs the package {package}: pip install 'concurrent-exec[cli,compare]'"
        )
