"""The rules of nftables as their authors wrote them, by handle, while a collection runs.

A thread has them read, in the namespaces that were asked about, when they begin to be of interest and when
they have changed. What was read once is kept: an event may come after its rule is gone. A handle is never
given to another rule, but a rule may be replaced under its handle; events of that moment get either text.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fyke.kernel.ruleset_reader import Reader, Ruleset, Texts

log = logging.getLogger(__name__)

# How often a namespace is asked whether its rules have changed. Where that takes long, less often: the time
# it takes is to be one part of so many.
POLL_SECONDS = 0.1
POLL_SHARE = 20
# A handle that isn't known is looked for at once, and waited for so long; then not again for a while.
# The rings have to hold what comes meanwhile.
PATIENCE_SECONDS = 1.0
AGAIN_SECONDS = 0.5
# What that takes is to be one part of so many too, over a time in which so much may be in advance.
DEMAND_SHARE = 3
CREDIT_SECONDS = 5.0
# Of rules that are gone, texts are kept up to this number in each namespace.
KEPT_TEXTS = 100_000
_NONE: Texts = {}


@dataclass
class _Namespace:
    """What is known of a namespace; times are those of time.monotonic().

    looked: when the last look at it began. gone: it isn't looked at of itself any more. slow: somebody waited
    in vain for a look that still goes on. missing: handles that aren't looked for before a time.
    """

    ruleset: Ruleset | None = None
    wanted: float = 0.0
    looked: float = -1.0
    next_poll: float = 0.0
    next_demand: float = 0.0
    gone: bool = False
    slow: bool = False
    missing: dict[tuple[int, int], float] = field(default_factory=dict)


class Rulesets:
    """Rules by handle. Nothing is opened before the first `start()` or `rule()`; close it at the end."""

    def __init__(self) -> None:
        self._texts: dict[int, Texts] = {}
        self._namespaces: dict[int, _Namespace] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._over = False
        self._told = False

    def start(self, inodes: Iterable[int]) -> None:
        """Begin to read the rules of these namespaces, without waiting for it."""
        now = time.monotonic()
        with self._changed:
            for inode in inodes:
                self._want(inode, now)

    def rule(self, netns: int, table: int, handle: int) -> str | None:
        """Return the text of a rule with its comment, as `nft -s list ruleset` prints it; None: not known.

        netns: the namespace's inode. table, handle: the handles of the table and the rule. Odd bytes are
        escaped as in task.comm. A rule that isn't known is waited for while it is looked for. Don't keep
        None: the rule may be known later.
        """
        text = self._texts.get(netns, _NONE).get((table, handle))
        if text is None and not self._over and self._look_for(netns, (table, handle)):
            text = self._texts.get(netns, _NONE).get((table, handle))
        return text

    def _look_for(self, inode: int, handles: tuple[int, int]) -> bool:
        """Have a namespace looked at for a rule, and wait for it. Say whether that was done."""
        now = time.monotonic()
        with self._changed:
            place = self._namespaces.get(inode)
            if place and (
                place.slow
                or now + CREDIT_SECONDS < place.next_demand
                or now < place.missing.get(handles, 0.0)
            ):
                return False
            place = self._want(inode, now)
            done = self._changed.wait_for(lambda: place.looked >= now or self._over, PATIENCE_SECONDS)
            place.slow = not done
            if len(place.missing) > KEPT_TEXTS:
                place.missing.clear()
            place.missing[handles] = time.monotonic() + AGAIN_SECONDS
        return True

    def _want(self, inode: int, now: float) -> _Namespace:
        place = self._namespaces.setdefault(inode, _Namespace())
        place.wanted, place.gone = now, False
        if self._thread is None and not self._over:
            self._thread = threading.Thread(target=self._run, name="rulesets", daemon=True)
            self._thread.start()
        self._changed.notify_all()
        return place

    def _run(self) -> None:
        from fyke.kernel.ruleset_reader import Reader

        reader = Reader()
        try:
            while (inode := self._next()) is not None:
                place, began = self._namespaces[inode], time.monotonic()
                self._look(reader, inode, place)
                took = time.monotonic() - began
                with self._changed:
                    place.looked, place.slow = began, False
                    place.next_demand = max(place.next_demand, began) + DEMAND_SHARE * took
                    place.next_poll = time.monotonic() + max(POLL_SECONDS, POLL_SHARE * took)
                    self._changed.notify_all()
        finally:
            reader.close()

    def _next(self) -> int | None:
        """Wait for a namespace to look at: waited for by somebody, or its time has come. None: it's over."""
        with self._changed:
            while not self._over:
                places = self._namespaces
                for inode, place in places.items():
                    if place.wanted > place.looked:
                        return inode
                alive = [inode for inode, place in places.items() if not place.gone]
                first = min(alive, key=lambda inode: places[inode].next_poll, default=None)
                wait = None if first is None else places[first].next_poll - time.monotonic()
                if first is not None and wait is not None and wait <= 0:
                    return first
                self._changed.wait(wait)
        return None

    def _look(self, reader: Reader, inode: int, place: _Namespace) -> None:
        from fyke.kernel.netns import open_namespace
        from fyke.kernel.ruleset_reader import Unreadable

        try:
            descriptor = open_namespace(inode)
        except (OSError, LookupError):  # nobody is in it any more
            place.gone = True
            return
        try:
            found = reader.read(descriptor, place.ruleset)
        except Unreadable as error:
            place.gone = True  # until somebody asks again
            if error.fatal:
                self._over = True
            self._tell(str(error))
            return
        finally:
            os.close(descriptor)
        if found.texts is not None:
            self._take(inode, found, place.ruleset)
            place.ruleset = found
            place.missing.clear()

    def _take(self, inode: int, found: Ruleset, before: Ruleset | None) -> None:
        assert found.texts is not None
        known = self._texts.get(inode, _NONE)
        # The number of a namespace that is gone is given to another, whose handles begin anew.
        same = before is None or (
            found.cookie == before.cookie and (found.cookie or found.generation > before.generation)
        )
        if not same or len(known) > len(found.texts) + KEPT_TEXTS:
            known = _NONE
        self._texts[inode] = known | found.texts

    def _tell(self, why: str) -> None:
        """Say once that there are no texts, and why."""
        if not self._told:
            log.warning("rules of nftables are shown by their handles only: %s", why)
        self._told = True

    def close(self) -> None:
        """End the thread and its process. Texts that are known can still be asked for."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
            self._thread = None
