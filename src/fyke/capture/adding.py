"""Adds probes to a running collection (`--probe-stack`), a few between two looks at the rings."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from fyke.capture import libbpf
from fyke.capture.autoprobe import Found
from fyke.capture.mechanisms import MECHANISMS
from fyke.errors import RunError
from fyke.kernel.machine import kernel_clock_ns

if TYPE_CHECKING:
    from fyke.capture.attach import Attached
    from fyke.capture.kernel import Kernel
    from fyke.capture.load import Loaded
    from fyke.capture.names import KernelNames
    from fyke.capture.plan import Plan
    from fyke.capture.planned import PlannedProbe

log = logging.getLogger(__name__)

# How long attaching may keep the rings waiting, where it goes one by one; at least one is attached.
TURN_SECONDS = 0.03
# ... and how many go at once where many can.
AT_ONCE = 64
# Looking for new stacks may take this part of the time.
SHARE = 0.05


class Adding:
    """Looks at stacks that are new in the map of stacks, each once, and attaches probes to what is on them.

    plan: the session's; its list of probes grows here.
    """

    def __init__(
        self, plan: Plan, kernel: Kernel, loaded: Loaded, attached: Attached, names: KernelNames
    ) -> None:
        assert isinstance(plan.probes, list), "a session's plan"
        self._plan, self._loaded, self._attached, self._names = plan, loaded, attached, names
        self._probes: list[PlannedProbe] = plan.probes
        self._found = Found(plan, kernel)
        self._looked: set[int] = set()
        self._waiting: deque[PlannedProbe] = deque()
        self._next_look = 0.0
        self._over = False

    def step(self) -> None:
        """Look and attach, for a moment."""
        if self._over:
            return
        if time.monotonic() >= self._next_look:
            for stack_id in self._new_stacks():
                self._waiting.extend(self._found.on(self._names.stack(stack_id) or []))
        if self._waiting:
            self._attach_some()

    def _new_stacks(self) -> list[int]:
        began = time.monotonic()
        new = [one for one in libbpf.keys_of(self._loaded.maps.stacks) if one not in self._looked]
        ended = time.monotonic()
        self._next_look = ended + (ended - began) / SHARE
        self._looked.update(new)
        return new

    def _attach_some(self) -> None:
        end = time.monotonic() + TURN_SECONDS
        at_once = AT_ONCE if MECHANISMS[self._plan.adds].many else 1
        while self._waiting and not self._over:
            room = self._plan.max_probes - len(self._probes)
            if room < 1:
                self._give_up(f"there are --max-probes {self._plan.max_probes} probes")
                return
            count = min(at_once, room, len(self._waiting))
            self._attach([self._waiting.popleft() for _ in range(count)])
            if time.monotonic() > end:
                return

    def _attach(self, new: list[PlannedProbe]) -> None:
        numbers = range(len(self._probes), len(self._probes) + len(new))
        now_ns = kernel_clock_ns()
        self._probes += [replace(probe, added_ns=now_ns) for probe in new]
        for number in numbers:
            self._loaded.configure(number)
        try:
            self._attached.attach(numbers)
        except RunError as error:
            self._attached.missing.update((probe.symbol, error.message) for probe in new)
            self._give_up(error.message)
            return
        for probe in new:
            reason = self._attached.missing.get(probe.symbol)
            if reason is None:
                log.info("added probe %s (%s)", probe.symbol, probe.mechanism)
            else:
                log.info("%s is on a packet's way, but can't be probed: %s", probe.symbol, reason)

    def _give_up(self, why: str) -> None:
        """Add no more, and take no more stacks for it."""
        self._over = True
        left = len(self._waiting)
        more = f"; {left} more found" if left else ""
        log.warning("--probe-stack adds no more probes: %s%s", why, more)
        self._loaded.looks = False
        for number in range(len(self._probes)):
            self._loaded.configure(number)
