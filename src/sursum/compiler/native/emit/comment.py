"""Names of the user's as comments: nothing in them may end a comment, or continue a line."""

from __future__ import annotations


def comment(text: str, width: int = 100) -> str:
    r"""A C comment that shows `text`.

    Characters outside plain ASCII and everything that C could read as an end, a continuation or a trigraph is escaped.

    Example:
        >>> comment("a*/b\n")
        '/* a*\\x2fb\\x0a */'
    """
    safe = []
    for k, c in enumerate(text):
        before = text[k - 1] if k else ""
        if not " " <= c <= "~" or c == "\\" or (c == "/" and before == "*") or (c == "?" and before == "?"):
            safe.append(f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" if ord(c) < 65536 else f"\\U{ord(c):08x}")
        elif c == "*" and before == "/":
            safe.append("\\x2a")
        else:
            safe.append(c)
    shown = "".join(safe)
    if len(shown) > width:
        shown = shown[: width - 3].rstrip("\\") + "..."
    return f"/* {shown} */"
