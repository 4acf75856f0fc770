"""fyke's own programs, attached nowhere, run by hand on made-up packets (live.image)."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fyke.capture.decode import Decoder
from fyke.capture.load import Loaded
from fyke.capture.names import KernelNames
from fyke.capture.rings import Bytes2D, Rings
from live.image import ProgramRun
from live.recording import RX, Row, kernel, kernel_without, plan

__all__ = ["ImageRun", "Verdict"]


class Verdict:
    """What became of one hit. counted: members of `struct counters` that it raised, and by how much."""

    def __init__(self, records: Bytes2D | None, decoder: Decoder, counted: dict[str, int]) -> None:
        self._records, self._decoder = records, decoder
        self.counted = counted

    @property
    def recorded(self) -> bool:
        """Whether it was recorded; else it was filtered, or there was nothing to record."""
        return self._records is not None

    @cached_property
    def row(self) -> Row:
        """The event as a row of the event table; ValueError when there is none."""
        if self._records is None:
            raise ValueError("it was filtered")
        (row,) = self._decoder.batch(self._records).to_pylist()
        return dict(row)


class ImageRun:
    """A collection that is loaded but attached nowhere, its first probe run by hand; a context manager.

    options: those of fyke.capture.plan.Options. The first probe must be a tracepoint. Tracking is off unless
    its collector is named: it follows what it saw, whatever the filters say, and an image's addresses come
    again. without: features (fyke/kernel/features.py) to do without, though this kernel has them.
    """

    def __init__(self, without: tuple[str, ...] = (), **options: Any) -> None:
        usual: dict[str, Any] = {"probes": (f"tp:{RX}",), "collectors": ("skb", "ns", "dev")}
        usual["buffer_bytes"] = 1 << 16  # each run empties the rings; large ones take long to make
        planned = plan(**usual | options)
        assert planned.probes[0].mechanism == "raw_tracepoint", "no other kind can be run by hand"
        view = kernel_without(*without) if without else kernel()
        self._loaded = loaded = Loaded(planned, view)
        self._rings: Rings | None = None
        try:
            self._rings = Rings(loaded.ring_fds, planned.ring_sizes, loaded.layout.record_bytes)
            self._decoder = Decoder(
                planned, loaded.layout, KernelNames(view, loaded.maps.stacks, loaded.maps.names)
            )
            counters = loaded.counters[0]
            self._counters: npt.NDArray[np.uint64] = counters.view(np.uint64).reshape(len(counters), -1)
            self._counter_names = _names_of_words(counters.dtype)
            self._run = ProgramRun(loaded.program_fd(0))
            loaded.enable(True)
        except BaseException:
            self.close()
            raise

    def __call__(self, *arguments: int) -> Verdict:
        """Hit the probe with these arguments of its tracepoint (the others 0)."""
        assert self._rings is not None
        before = self._counters.sum(axis=0)
        self._run(*arguments)
        raised = (self._counters.sum(axis=0) - before).tolist()
        counted = {name: by for name, by in zip(self._counter_names, raised, strict=True) if by}
        records = self._rings.take(None)
        assert counted["hits"] == 1, counted
        assert "ring_full" not in counted, "each run empties the rings"
        return Verdict(records, self._decoder, counted)

    def close(self) -> None:
        """Take everything out of the kernel."""
        if self._rings:
            self._rings.close()
        self._loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _names_of_words(dtype: np.dtype[np.void]) -> list[str]:
    """Return the member that each 64-bit word of a struct belongs to."""
    assert dtype.names
    starts = {dtype.fields[name][1] // 8: name for name in dtype.names} if dtype.fields else {}
    return [starts.get(word, "pad") for word in range(dtype.itemsize // 8)]
