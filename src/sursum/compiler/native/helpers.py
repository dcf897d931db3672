"""C functions of our own, which lie in ``c/``, a file each: put into a program only if it calls them.

A file may begin with the names of those that must stand before it: ``/* needs: gemm, unfold */``.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

_NEEDS = "/* needs: "


def read_helper(name: str) -> tuple[tuple[str, ...], str] | None:
    """What a function needs, and its text; None where there is no such function of ours.

    Example:
        >>> needs, text = read_helper("digamma")
        >>> needs, "static double su_digamma(double x)" in text, read_helper("exp")
        (('digamma_positive',), True, None)
    """
    file = files(__package__).joinpath("c", f"{name}.c")
    if not file.is_file():
        return None
    text = file.read_text(encoding="ascii")
    if not text.startswith(_NEEDS):
        return (), text
    first, _, rest = text.partition("\n")
    return tuple(first.removeprefix(_NEEDS).removesuffix(" */").split(", ")), rest


def helpers(names: Iterable[str]) -> list[str]:
    """The texts of all functions of ours among `names`, and of those that they need, which stand before them.

    Example:
        >>> [text.count("static double su_") for text in helpers(["digamma", "exp", "digamma_positive"])]
        [1, 1]
    """
    found: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in found and (helper := read_helper(name)) is not None:
            needs, text = helper
            for other in needs:
                add(other)
            found[name] = "\n" + text.rstrip("\n")

    for name in names:
        add(name)
    return list(found.values())
