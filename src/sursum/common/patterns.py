"""Name patterns: an exact name wins, else the first pattern that matches, in the order of the mapping.

`*` stands for any part of one dotted segment, `**` for any number of segments, including none. Everything else, including
dots and brackets, is literal.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    text = ""
    split = pattern.split(".")
    # "**.**" means the same as "**".
    segments = [s for i, s in enumerate(split) if not (s == "**" and i and split[i - 1] == "**")]
    for i, segment in enumerate(segments):
        last = i == len(segments) - 1
        if segment == "**":
            # Zero segments take their dot with them: "net.**.weight" matches "net.weight".
            if last and text.endswith(r"\."):
                text = text[: -len(r"\.")] + r"(?:\.[^.]+)*"
            else:
                text += r"(?:[^.]+(?:\.[^.]+)*)?" if last else r"(?:[^.]+\.)*"
        else:
            text += "[^.]*".join(re.escape(part) for part in segment.split("*")) + ("" if last else r"\.")
    return re.compile(text)


def matches(pattern: str, name: str) -> bool:
    """Whether `name` equals or matches `pattern`.

    Example:
        >>> matches("net.**.weight", "net.0.fc.weight"), matches("net.*.weight", "net.0.fc.weight")
        (True, False)
    """
    return pattern == name or _expression(pattern).fullmatch(name) is not None


def lookup(table: Mapping[str, T], name: str) -> tuple[str, T] | None:
    """The entry of `table` that applies to `name`, with its key; None if there is none."""
    if name in table:
        return name, table[name]
    return next(((key, value) for key, value in table.items() if matches(key, name)), None)


def covers(wide: str, narrow: str) -> bool:
    """Whether the pattern `wide` matches everything that `narrow` matches, and more.

    Example:
        >>> covers("net.**", "net.*.weight"), covers("net.*.weight", "net.**"), covers("net.**", "net.**")
        (True, False, False)
    """
    return wide != narrow and matches(wide, _example(narrow)) and not matches(narrow, _example(wide))


def _example(pattern: str) -> str:
    """A name that matches `pattern`, and hardly any pattern that does not cover it."""
    return pattern.replace("**", "\0.\0\0.\0").replace("*", "\0\0\0")


def suggestion(name: str, known: Iterable[str]) -> str:
    """A sentence, starting with a space, with the names in `known` that `name` may have meant, or with all of them."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f" Did you mean {' or '.join(map(repr, close))}?"
    if not names:
        return " There are none."
    shown = ", ".join(map(repr, names[:8])) + (", …" if len(names) > 8 else "")
    return f" There are: {shown}."
