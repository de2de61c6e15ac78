"""The text of a statement, cut into tokens.

So what stands in a comment, a string or a quoted name is never taken for CQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

# The lexical rules are those of Cassandra's Lexer.g: three kinds of comment, strings in single
# quotes or in $$, names in double quotes, a doubled quote for one within.
_TOKEN = re.compile(
    r"""
    (?P<blank>    \s+ | --[^\r\n]* | //[^\r\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<string>   '[^']*(?:''[^']*)*(?:'|\Z) | \$\$.*?(?:\$\$|\Z) )
  | (?P<quoted>   "[^"]*(?:""[^"]*)*(?:"|\Z) )
  | (?P<word>     [^\W\d]\w* )
  | (?P<number>   \d[\w.]* )
  | (?P<symbol>   . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of CQL that is not blank."""

    kind: str
    text: str


NOTHING = Token("", "")
"""What stands beyond the end."""


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of `text`: words in small letters, quoted names without their quotes."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "word":
            yield Token(kind, match[0].lower())
        elif kind == "quoted":
            yield Token(kind, match[0][1:-1].replace('""', '"'))
        elif kind != "blank":
            yield Token(kind, match[0])


def text_of(statement: Any) -> str | None:
    """Return the text of a string, or of a statement that has one."""
    if isinstance(statement, str):
        return statement
    text = getattr(prepared_of(statement), "query_string", None)
    return text if isinstance(text, str) else None


def prepared_of(statement: Any) -> Any:
    """Return what holds text and metadata: a bound statement's prepared one, else itself."""
    prepared = getattr(statement, "prepared_statement", None)
    return statement if prepared is None else prepared
