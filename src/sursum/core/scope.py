"""What the handlers around say to a handler at work, without a message: open plates, steps of scans, where draws come from."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import field
from typing import Any

import torch
from torch import Tensor

from sursum.core.messages import Frame, Site, Step
from sursum.core.runtime import STACK, Messenger, handler

_SITE: ContextVar[Site | None] = ContextVar("site", default=None)


@handler
class Global(Messenger):
    """Where the search for open plates ends: what is inside is in none of `plates`, save those that it opens again by name."""

    plates: tuple[Frame, ...] = ()

    entered: set[str] = field(init=False, repr=False, default_factory=set)


def open_plates() -> tuple[Frame, ...]:
    """The plates that are open here, outermost first."""
    found: list[Frame] = []
    for messenger in reversed(STACK.get()):
        if isinstance(messenger, Global):
            break
        if messenger.frame is not None:
            found.append(messenger.frame)
    return tuple(reversed(found))


def reopened(name: str) -> Frame | None:
    """The plate `name` around a `Global` here, which is opened again."""
    scope = next((messenger for messenger in reversed(STACK.get()) if isinstance(messenger, Global)), None)
    found = next((frame for frame in scope.plates if frame.name == name), None) if scope else None
    if scope and found:
        scope.entered.add(name)
    return found


def own_steps(site: Site) -> tuple[Step, ...]:
    """The steps of scans, outermost first, that `site` is in and the handler at work is not: it sees all of them."""
    outside = {id(messenger.frame) for messenger in STACK.get() if messenger.frame is not None}
    return tuple(frame for frame in site.plates if isinstance(frame, Step) and id(frame) not in outside)


def leave(step: Step) -> None:
    """Tell the handlers here, the innermost first, that a scan is over; while one works, only those outside it are here."""
    stack = STACK.get()
    for place in range(len(stack) - 1, -1, -1):
        token = STACK.set(stack[:place])
        try:
            stack[place].leave(step)
        finally:
            STACK.reset(token)


def current_roller() -> Callable[[Any], Any] | None:
    """Who runs the steps of a scan here: the innermost handler that says so, else Python (None)."""
    return next((m.roller for m in reversed(STACK.get()) if m.roller is not None), None)


def current_generator() -> torch.Generator | None:
    """Where a draw made here comes from: the innermost handler that says so, else torch's own (None)."""
    return next((m.draws for m in reversed(STACK.get()) if m.draws is not None), None)


def recall(name: str) -> Tensor | None:
    """The current value of the parameter `name` in the innermost store that has it."""
    values = (messenger.recall(name) for messenger in reversed(STACK.get()))
    return next((value for value in values if value is not None), None)


class at_site:
    """While this is entered, `site` is the one that is worked on: captures and errors name it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __enter__(self) -> None:
        self._token = _SITE.set(self._site)

    def __exit__(self, *error: object) -> None:
        _SITE.reset(self._token)


def current_site() -> Site | None:
    """The site that is being worked on."""
    return _SITE.get()
