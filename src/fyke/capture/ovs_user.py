"""Open vSwitch's daemons: probes in those that run, and in those that start while a collection goes on."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fyke.capture.kernel import Kernel
from fyke.capture.ovs_functions import HINT, function_places
from fyke.capture.planned import PlannedProbe, UserPlace
from fyke.capture.probe_spec import ProbeSpec
from fyke.capture.probes import ProbeSet
from fyke.capture.user_probes import NoUsdtProbes, Program, places
from fyke.collectors.ovs import COLLECTOR
from fyke.collectors.ovs.user import (
    FUNCTIONS,
    LIBRARY,
    MOST_PLACES,
    PROBES,
    PROGRAM,
    RECEIVED,
    RECEIVED_FLAG,
    RECEIVED_SKB,
    UserProbe,
)
from fyke.collectors.skb_tracking import COLLECTOR as TRACKING
from fyke.errors import RunError, Unsupported, UsageError
from fyke.events.escape import printable
from fyke.kernel.binaries.debug_files import NoDebugFile, NoDebugInfo
from fyke.kernel.binaries.elf_file import BadBinary
from fyke.kernel.binaries.running import Appearing, files_of

log = logging.getLogger(__name__)

# How much the maps of core/upcalls.bpf.h and collectors/ovs/user.bpf.h hold. A message waits in a socket that
# holds a few thousand, threads are a few for each CPU; what was parsed is over when a batch is.
ENTRIES = {
    "upcalls_queued": 1 << 16,
    "upcalls_received": 1 << 10,
    "upcall_threads": 1 << 9,
    "upcalls_parsed": 1 << 14,
}
SECTIONS = ("userspace", "skb_tracking")  # of each event, beside its own
FileId = tuple[int, int]


@dataclass
class Daemons:
    """What is known of the programs that run as ovs-vswitchd; files are looked at once.

    no_functions: why a build without USDT probes can't be followed by its functions; empty: it can, where its
    debug information is there. cache: what that says is kept there, None: where it usually is.
    planned: files that need no looking at. followed: file -> the places of each probe in it. refused: file ->
    why packets aren't followed through it.
    """

    machine: str
    proc: Path = Path("/proc")
    planned: frozenset[FileId] = frozenset()
    no_functions: str = ""
    cache: Path | None = None
    followed: dict[FileId, list[tuple[UserProbe, UserPlace]]] = field(default_factory=dict)
    refused: dict[FileId, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._appearing = Appearing(PROGRAM, self.proc)

    @property
    def known(self) -> frozenset[FileId]:
        """The files that were looked at."""
        return self.planned | self.followed.keys() | self.refused.keys()

    def look(self) -> Iterator[FileId]:
        """Yield the files of daemons that have come since the last look, which weren't seen before."""
        for pid in self._appearing.look():
            exe = self.proc / str(pid) / "exe"
            try:
                there, path = os.stat(exe), os.readlink(exe).removesuffix(" (deleted)")
            except OSError:  # it has ended
                continue
            file_id = there.st_dev, there.st_ino
            if file_id in self.known:
                continue
            libraries = files_of(self.proc / str(pid), LIBRARY, prefix=True)
            program = Program(path, path if _is_file(path, file_id) else str(exe))
            self._judge(file_id, [program, *(Program(m.path, m.file) for m in libraries)])
            yield file_id

    def _judge(self, file_id: FileId, programs: list[Program]) -> None:
        refused: list[UsageError] = []
        for program in programs:
            try:
                self.followed[file_id] = list(self._places(program))
            except UsageError as e:
                refused.append(e)
            else:
                return
        why = next((e.message for e in refused if not isinstance(e, NoUsdtProbes)), "")
        if not why:
            why = self._by_functions(file_id, programs)
        if why:
            path = printable(programs[0].path)
            self.refused[file_id] = f"packets can't be followed through {path}: {why}"

    def _by_functions(self, file_id: FileId, programs: list[Program]) -> str:
        """Follow a build without USDT probes by its functions; return why that can't be, empty: it can."""
        missing = self.no_functions
        for program in () if missing else programs:
            try:
                self.followed[file_id] = list(function_places(program, self.machine, self.cache))
            except (NoDebugInfo, BadBinary, OSError) as e:
                # Of a library, if there is one: what is sought should be there.
                of = f"{printable(program.path)}: " if program != programs[0] else ""
                missing = f"{of}{e}" + (f" ({HINT})" if isinstance(e, NoDebugFile) else "")
            else:
                return ""
        return f"it was built without USDT probes, and its functions can't be found: {missing}"

    def _places(self, program: Program) -> Iterator[tuple[UserProbe, UserPlace]]:
        """Yield the places of all probes. UsageError when one, or an argument it must have, is missing."""
        for probe in PROBES:
            spec = ProbeSpec(probe.symbol, "usdt", probe.symbol, path=program.path)
            for _, place in places(program, spec, self.machine):
                if any(n >= len(place.arguments) or place.arguments[n] is None for n in probe.needs):
                    raise UsageError(f"the arguments of {probe.symbol} are out of reach")
                yield probe, place


def _is_file(path: str, file_id: FileId) -> bool:
    """Say whether a path means a file here too, not only where a process is, which may end."""
    try:
        there = os.stat(path)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == file_id


def follow_upcalls(probes: ProbeSet) -> frozenset[FileId]:
    """Plan the way of packets through the daemons that run; return the programs that were looked at for it.

    Raises Unsupported and UsageError.
    """
    if COLLECTOR not in probes.collectors:
        if why := COLLECTOR.unavailable(probes.kernel):
            raise Unsupported(f"--ovs-track can't work here: {why}", "leave it out")
        raise UsageError("--ovs-track needs the collector ovs", "add ovs to -c")
    if TRACKING not in probes.collectors:
        raise UsageError("--ovs-track needs the collector skb-tracking", "add skb-tracking to -c")
    if not probes.kernel.features.has("uprobe"):
        why = probes.kernel.features["uprobe"].why
        raise Unsupported(f"--ovs-track can't work here: no uprobes, {why}", "leave it out")
    daemons = Daemons(platform.machine(), no_functions=no_functions(probes.kernel))
    places = [found for file_id in daemons.look() for found in daemons.followed.get(file_id, ())]
    for planned in daemon_probes(places):
        probes.merge(planned)
    probes.notes += [f"ovs: {why}" for why in daemons.refused.values()]
    if not daemons.known:
        probes.notes.append(f"ovs: no {PROGRAM} runs; packets are followed through one that is started")
    return daemons.known


def no_functions(kernel: Kernel) -> str:
    """Return why a build without USDT probes can't be followed by its functions; empty: it can."""
    # Linux kernel commit e6f2dd0f8067 ("bpf: Add bpf_loop helper") (in v5.17).
    if "BPF_FUNC_loop" in kernel.enum("bpf_func_id").values():
        return ""
    return "the kernel has no bpf_loop(), Linux 5.17 and newer have"


def daemon_probes(found: list[tuple[UserProbe, UserPlace]]) -> list[PlannedProbe]:
    """Return the probes at these places, and the one where messages are received."""
    arguments, flags = {"other": RECEIVED_SKB}, frozenset({RECEIVED_FLAG})
    received = PlannedProbe(RECEIVED, "raw_tracepoint", frozenset(), arguments, flags)
    return [*(_planned(probe, place) for probe, place in found), received]


def _planned(probe: UserProbe, place: UserPlace) -> PlannedProbe:
    sections = frozenset({*SECTIONS, probe.section})
    flags = frozenset(probe.flags)
    return PlannedProbe(probe.symbol, probe.mechanism, sections, {}, flags, (COLLECTOR.name,), user=place)


# What stands for the probes of daemons, where none is planned yet: each runs another program.
ANY_DAEMON = _planned(PROBES[0], UserPlace("", "", 0))
ANY_BATCH = _planned(FUNCTIONS[-1].probe, UserPlace("", "", 0))


class DaemonWatch:
    """Attaches to daemons that are started while a collection goes on.

    add: adds a probe to the collection. RunError.
    """

    def __init__(self, daemons: Daemons, add: Callable[[PlannedProbe], None]) -> None:
        self._daemons = daemons
        self._add = add
        self._room = MOST_PLACES

    def look(self) -> None:
        """Look for daemons that have come."""
        for file_id in self._daemons.look():
            if why := self._daemons.refused.get(file_id):
                log.warning("ovs: %s", why)
            else:
                self._follow(self._daemons.followed[file_id])

    def _follow(self, found: list[tuple[UserProbe, UserPlace]]) -> None:
        path = printable(found[0][1].path)
        if len(found) > self._room:
            log.warning("ovs: %s is not followed: there are too many different builds of it", path)
            return
        self._room -= len(found)
        try:
            for probe, place in found:
                self._add(_planned(probe, place))
        except RunError as e:
            log.warning("ovs: packets can't be followed through %s: %s", path, e.message)
        else:
            log.info("ovs: %s was started; packets are followed through it", path)
