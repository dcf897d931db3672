"""Names and patterns that a handler was given but never used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from sursum.common.patterns import covers, lookup, matches, suggestion
from sursum.core.runtime import Messenger
from sursum.core.validation import is_validation_enabled


def find_unused(
    handler: Messenger,
    keys: Collection[str],
    met: Collection[str],
    nothing: str | Callable[[str], str],
    *,
    patterns: bool = True,
) -> Iterator[tuple[str, str]]:
    """The keys that have never answered for one of the names `met`, at the end of an execution, and why.

    A key is reported once per handler object, and not at all if an earlier execution has used it. A fallback, where
    narrower keys before it took everything that it matches, does not count as unused.

    Args:
        handler: the copy that ran.
        keys: names or patterns, in order.
        met: the names that the handler could have answered for.
        nothing: that there is none of a name, such as "no latent site of that name was reached"; or what says why a key is
            not used.
        patterns: whether the keys may be patterns.
    """
    if not is_validation_enabled() or handler.noted.issuperset(keys):
        return
    table = dict.fromkeys(keys)
    if patterns:
        taker = {name: found[0] for name in met if (found := lookup(table, name)) is not None}
    else:
        taker = {name: name for name in met if name in table}
    for key in table:
        if key in taker.values():
            handler.note(key)
            continue
        takers = [one for name, one in taker.items() if patterns and matches(key, name)]
        before = next((one for one in takers if not covers(key, one)), None)
        if before is not None and handler.note(key):
            yield key, f"{before!r}, which comes before it, takes everything that it matches. Put the narrower pattern first."
        elif not takers and handler.note(key):
            yield key, nothing(key) if callable(nothing) else f"{nothing}.{suggestion(key, met)}"
