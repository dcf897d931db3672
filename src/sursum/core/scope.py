"""What a running handler can ask the handlers around it, without a message: open plates, scan steps, the generator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sursum.core.messages import Frame, Site, Step
from sursum.core.runtime import STACK, Messenger, handler, required

_SITE: ContextVar[Site | None] = ContextVar("site", default=None)


@handler
class Global(Messenger):
    """Ends the search for open plates: sites inside are in none of `plates`, except those that they reopen by name."""

    plates: tuple[Frame, ...] = ()

    entered: set[str] = field(init=False, repr=False, default_factory=set)


@handler
class InFrame(Messenger):
    """Puts the sites inside it in a plate, or in a step of a loop."""

    opened: Frame = required()

    @property
    def frame(self) -> Frame:
        return self.opened


def open_plates() -> tuple[Frame, ...]:
    """The plates that are open here, outermost first."""
    found: list[Frame] = []
    local = True
    for messenger in reversed(STACK.get()):
        local = local and not isinstance(messenger, Global)
        if messenger.frame is not None:
            found += [messenger.frame] if local else []
        elif found and type(messenger).rename is not Messenger.rename:
            found = [f if isinstance(f, Step) else dataclasses.replace(f, name=messenger.rename(f.name)) for f in found]
    return tuple(reversed(found))


def full_name(name: str) -> str:
    """The name by which a site or a plate called `name` here is known outside all handlers."""
    for messenger in reversed(STACK.get()):
        name = messenger.rename(name)
    return name


def reopen(name: str) -> Frame | None:
    """The plate `name` outside the current `Global`, to be reopened."""
    scope = next((messenger for messenger in reversed(STACK.get()) if isinstance(messenger, Global)), None)
    if scope is None:
        return None
    name = full_name(name)
    found = next((frame for frame in scope.plates if frame.name == name), None)
    if found:
        scope.entered.add(name)
    return found


def own_steps(site: Site) -> tuple[Step, ...]:
    """The scan steps, outermost first, that contain `site` but not the running handler, which therefore sees all of them."""
    outside = {id(messenger.frame) for messenger in STACK.get() if messenger.frame is not None}
    return tuple(frame for frame in site.plates if isinstance(frame, Step) and id(frame) not in outside)


def leave(step: Step) -> None:
    """Tell the active handlers, innermost first, that a scan is over; each runs with only those outside it active."""
    stack = STACK.get()
    for place in range(len(stack) - 1, -1, -1):
        token = STACK.set(stack[:place])
        try:
            stack[place].leave(step)
        finally:
            STACK.reset(token)


def current_roller() -> Callable[[Any], Any] | None:
    """The function that runs scans here, from the innermost handler that has one; None for Python."""
    return next((m.roller for m in reversed(STACK.get()) if m.roller is not None), None)


def around_scans(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`run`, which runs a scan here, as the handlers around it change it; the innermost one sees the scan first."""
    for messenger in STACK.get():
        if type(messenger).around_scan is not Messenger.around_scan:
            run = partial(messenger.around_scan, run=run)
    return run


def plate_nesting() -> int | None:
    """How many dimensions belong to plates and batches here; see `Messenger.nesting`."""
    return next((m.nesting for m in reversed(STACK.get()) if m.nesting is not None), None)


def own_batch(shape: torch.Size) -> torch.Size:
    """A batch shape without the dimensions that have values of discrete sites."""
    nesting = plate_nesting()
    return shape if nesting is None else shape[max(len(shape) - nesting, 0) :]


def is_enumerated(site: Site) -> bool:
    """Whether a handler outside gives `site` all its values."""
    return any(messenger.enumerates(site) for messenger in STACK.get())


def current_generator() -> torch.Generator | None:
    """The generator of draws here, from the innermost handler that has one; None for torch's own."""
    return next((m.draws for m in reversed(STACK.get()) if m.draws is not None), None)


def hand_over(name: str, net: Any) -> Any:
    """What the program gets where it reads the network `name`, from the innermost handler outwards."""
    for messenger in reversed(STACK.get()):
        net = messenger.network(name, net)
    return net


def recall(name: str) -> Tensor | None:
    """The current value of the parameter `name` in the innermost store that has it."""
    for messenger in reversed(STACK.get()):
        value: Tensor | None = messenger.recall(name)
        if value is not None:
            return value
        name = messenger.rename(name)
    return None


def hold_buffer(name: str, own: Tensor, writes: bool) -> Tensor | None:
    """The buffer `name` of a network in the innermost handler that keeps it."""
    found: Tensor | None = None
    for messenger in reversed(STACK.get()):
        value: Tensor | None = messenger.buffer(name, own, writes)
        if value is not None and messenger.keeps_buffers:
            return value
        if value is not None:
            own = found = value
        name = messenger.rename(name)
    return found


class at_site:
    """While this is active, `site` is the current one: captures and errors name it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __enter__(self) -> None:
        self._token = _SITE.set(self._site)

    def __exit__(self, *error: object) -> None:
        _SITE.reset(self._token)


def current_site() -> Site | None:
    """The site that is being processed."""
    return _SITE.get()
