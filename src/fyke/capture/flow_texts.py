"""The flows of Open vSwitch as its daemon tells them, by UFID, while a collection runs.

A thread asks for each flow that packets hit, at a bounded rate: what the datapath has (dpctl/get-flow) and
the OpenFlow rules it was made of (ofproto/detrace, of Open vSwitch 3.4 and later). Nobody waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fyke.kernel.unixctl import Refused, Unixctl, vswitchd_sockets

log = logging.getLogger(__name__)

DEFAULT_RATE = 20  # requests a second
# Open vSwitch forgets a flow that is idle for so long: who is asked later knows nothing, and what comes under
# the same numbers may be another.
FLOW_SECONDS = 10.0
# How long a flow is asked for again whose rules aren't known yet: they are when it was first revalidated.
AGAIN_SECONDS = 0.5
MOST_WAITING = 1_000
LOOK_SECONDS = 5.0  # how often daemons are looked for while none knows a flow
_NOT_YET = ("Cache was not found", "UFID was not found")


class Flow(NamedTuple):
    """What names a flow of the datapath at one time. ufid: as OVS writes it. flow, sf_acts: addresses."""

    ufid: str
    flow: int
    sf_acts: int


@dataclass(frozen=True, slots=True)
class FlowText:
    """A flow and what is known of it. rules: OpenFlow rules; none where the daemon can't tell them."""

    flow: Flow
    datapath: str
    rules: tuple[str, ...]


@dataclass
class _Task:
    flow: Flow
    since: float
    not_before: float = 0.0
    datapath: str = ""


class FlowTexts:
    """Asks for flows. failed: flows that could not be told. Close it at the end."""

    def __init__(
        self,
        rate: int = DEFAULT_RATE,
        sockets: Callable[[], list[str]] = vswitchd_sockets,
        timeout_seconds: float = 0.5,
    ) -> None:
        self._interval = 1 / rate
        self._sockets = sockets
        self._timeout = timeout_seconds
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Flow, _Task] = OrderedDict()
        self._seen: dict[Flow, float] = {}  # what was asked for -> when it was last hit
        self._ready: list[FlowText] = []
        self._over = False
        self._daemons: list[Unixctl] = []
        self._looked = -LOOK_SECONDS
        self.failed = 0
        self._thread = threading.Thread(target=self._run, name="flow texts", daemon=True)
        self._thread.start()

    @property
    def unasked(self) -> int:
        """How many flows wait to be asked for."""
        return len(self._waiting)

    def want(self, flows: Iterable[Flow]) -> None:
        """Have flows asked for that were hit, unless they were a short while ago."""
        now = time.monotonic()
        with self._changed:
            for flow in flows:
                last = self._seen.get(flow)
                self._seen[flow] = now
                if last is None or now - last > FLOW_SECONDS:
                    self._waiting[flow] = _Task(flow, now)
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popitem(last=False)
                self.failed += 1
            if len(self._seen) > 8 * MOST_WAITING:
                self._seen = {flow: at for flow, at in self._seen.items() if now - at <= FLOW_SECONDS}
            self._changed.notify_all()

    def take(self) -> list[FlowText]:
        """Return what has become known since the last call."""
        with self._changed:
            ready, self._ready = self._ready, []
            return ready

    def close(self) -> None:
        """End the thread, which takes no longer than one request."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join()
        for daemon in self._daemons:
            daemon.close()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            began = time.monotonic()
            found = self._tell(task)
            with self._changed:
                if found is not None:
                    self._ready.append(found)
                elif not self._later(task):
                    self.failed += 1
                self._changed.wait_for(
                    lambda: self._over, max(0.0, began + self._interval - time.monotonic())
                )

    def _next(self) -> _Task | None:
        """Wait for the next flow to ask for; None: it's over."""
        with self._changed:
            while not self._over:
                now = time.monotonic()
                for flow, task in self._waiting.items():
                    if task.not_before <= now:
                        return self._waiting.pop(flow)
                first = min((task.not_before for task in self._waiting.values()), default=None)
                self._changed.wait(None if first is None else first - now)
        return None

    def _later(self, task: _Task) -> bool:
        """Put a flow back whose rules aren't known yet; without them when it takes too long."""
        now = time.monotonic()
        if not task.datapath:
            return False
        if now - task.since > FLOW_SECONDS:
            self._ready.append(FlowText(task.flow, task.datapath, ()))
            return True
        task.not_before = now + AGAIN_SECONDS
        self._waiting.setdefault(task.flow, task)
        return True

    def _tell(self, task: _Task) -> FlowText | None:
        """Ask the daemons in turn. None: nobody knows it, or not all yet (task.datapath is set then)."""
        for daemon in self._known_daemons():
            try:
                ufid = f"ufid:{task.flow.ufid}"
                task.datapath = task.datapath or self._datapath(daemon, ufid)
                rules = self._rules(daemon, ufid)
            except (Refused, OSError) as error:
                log.debug("%s: %s: %s", daemon.path, task.flow.ufid, error)
                continue
            return None if rules is None else FlowText(task.flow, task.datapath, rules)
        return None

    def _datapath(self, daemon: Unixctl, ufid: str) -> str:
        try:
            return daemon.run("dpctl/get-flow", ufid).strip()
        except Refused as error:
            if "multiple datapaths" not in str(error):
                raise
        # One that has another in user space, too: ours is the kernel's.
        kernels = [name for name in daemon.run("dpctl/dump-dps").split() if name.startswith("system@")]
        return daemon.run("dpctl/get-flow", *kernels[:1], ufid).strip()

    def _rules(self, daemon: Unixctl, ufid: str) -> tuple[str, ...] | None:
        """Return the rules of a flow; none where they can't be told, None while they aren't known."""
        try:
            told = daemon.run("ofproto/detrace", ufid)
        except Refused as error:
            if "not a valid command" in str(error):
                return ()
            raise
        lines = tuple(line for line in told.splitlines() if line and not line.startswith(_NOT_YET))
        return lines or None

    def _known_daemons(self) -> list[Unixctl]:
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            paths = self._sockets()
            for daemon in [daemon for daemon in self._daemons if daemon.path not in paths]:
                daemon.close()
            kept = {daemon.path: daemon for daemon in self._daemons}
            self._daemons = [kept.get(path) or Unixctl(path, self._timeout) for path in paths]
        return self._daemons
