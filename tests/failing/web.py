"""Calls to a server's HTTP API: JSON there, JSON back."""

from __future__ import annotations

import http.client
import json
from typing import Any


class ApiError(Exception):
    """The server refused a call; the message has the call and what the server said."""


class Api:
    """The HTTP API of a server on this machine."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def __repr__(self) -> str:
        return f"<Api {self.host}:{self.port}>"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make a call and return the answer, or None if that is empty.

        Raises ApiError if the server refuses, OSError if there is none.
        """
        # Straight to the server, whatever proxy the environment names.
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiError(f"{method} {path}: {answer.status} {text.strip()}")
        return json.loads(text) if text.strip() else None

    def answers(self) -> bool:
        """Whether a server is there."""
        try:
            self.call("GET", "/")
        except OSError:
            return False
        except (ApiError, ValueError):
            pass  # a refusal is an answer as well
        return True
