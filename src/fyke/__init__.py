"""fyke: see where in the Linux kernel each packet went, what changed it, what dropped it and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fyke.api.event import Event as Event
    from fyke.api.journey import Journey as Journey
    from fyke.api.live import Collection as Collection
    from fyke.api.live import collect as collect
    from fyke.api.optional import MissingPackage as MissingPackage
    from fyke.api.recording import Recording as Recording
    from fyke.api.recording import open as open
    from fyke.api.retis_files import EventFile as EventFile
    from fyke.api.retis_files import EventReader as EventReader
    from fyke.api.retis_files import EventSeries as EventSeries
    from fyke.api.retis_files import SeriesReader as SeriesReader
    from fyke.errors import FykeError as FykeError
    from fyke.errors import InputError as InputError
    from fyke.errors import RunError as RunError
    from fyke.errors import Unsupported as Unsupported
    from fyke.errors import UsageError as UsageError

__version__ = "0.1.0"

# Public name -> where it is. Loaded when it is used: `import fyke` costs nothing, and the commands need few.
_PUBLIC = {
    "Collection": "fyke.api.live:Collection",
    "Event": "fyke.api.event:Event",
    "EventFile": "fyke.api.retis_files:EventFile",
    "EventReader": "fyke.api.retis_files:EventReader",
    "EventSeries": "fyke.api.retis_files:EventSeries",
    "FykeError": "fyke.errors:FykeError",
    "InputError": "fyke.errors:InputError",
    "Journey": "fyke.api.journey:Journey",
    "MissingPackage": "fyke.api.optional:MissingPackage",
    "Recording": "fyke.api.recording:Recording",
    "RunError": "fyke.errors:RunError",
    "SeriesReader": "fyke.api.retis_files:SeriesReader",
    "Unsupported": "fyke.errors:Unsupported",
    "UsageError": "fyke.errors:UsageError",
    "collect": "fyke.api.live:collect",
    "open": "fyke.api.recording:open",
}
# `from fyke import *` doesn't take the built-in open() away.
__all__ = ["__version__", *(name for name in _PUBLIC if name != "open")]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fyke' has no attribute '{name}'")
    from importlib import import_module

    module, _, attribute = _PUBLIC[name].partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*_PUBLIC, *(name for name in globals() if name.startswith("__"))})
