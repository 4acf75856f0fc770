"""Why a function or tracepoint can't be probed, and which names are like one that isn't there."""

from __future__ import annotations

import difflib
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fyke.kernel.view import LiveKernel

_MODULES = Path("/lib/modules")


def why_no_function(kernel: LiveKernel, name: str) -> str | None:
    """Return why a function can't be probed by name (no full stop), None when it can."""
    if kernel.has_function(name):  # only a reason takes long to find
        return None
    symbols = kernel.symbols
    count = len(symbols.addresses(name))
    if not symbols:
        count = int(kernel.function_type(name) is not None)
    if count == 0:
        return _why_missing(kernel, name)
    if count > 1:
        places = [module or "the kernel" for module in symbols.modules(name)]
        where = f" (in {', '.join(places)})" if len(places) > 1 else ""
        return f"{name} is the name of {count} functions{where}, which can't be told apart"
    if kernel.filter_functions is not None and name not in kernel.filter_functions:
        return f"{name} can't be traced: the kernel marks it notrace"
    return f"{name} can't be probed: the kernel forbids it (NOKPROBE)"


def _why_missing(kernel: LiveKernel, name: str) -> str:
    if variants := kernel.symbols.variants(name):
        return f"{name} exists only as {', '.join(variants)}: the compiler changed what it takes"
    if module := kernel.module_with(name):
        return f"{name} is a function of the module {module}, which isn't loaded (modprobe {module})"
    if kernel.vmlinux.find("func", name) is not None:
        return f"{name} is inlined wherever it is called, or runs only while booting"
    return f"{name} is inlined, in a module that isn't loaded, or not in this kernel"


def module_exporting(name: str, modules: Path = _MODULES) -> str | None:
    """Return which module offers a function to others, by what depmod wrote down; None when it knows none.

    OSError when there is no such list. Functions that a module has for itself aren't in it.
    """
    data = (modules / platform.release() / "modules.symbols").read_bytes()
    start = data.find(f"alias symbol:{name} ".encode(errors="replace"))
    if start < 0:
        return None
    line = data[start : data.find(b"\n", start)]
    return line.split(b" ")[2].decode(errors="backslashreplace")


def why_no_tracepoint(kernel: LiveKernel, wanted: str) -> str | None:
    """Return why a tracepoint (`subsystem:name`, no wildcards) can't be probed, None when it can."""
    if kernel.match_tracepoints(wanted):
        return None
    known = kernel.events_named(wanted.rpartition(":")[2])
    if wanted in known:
        return f"{wanted} can't be probed: it is no tracepoint, or its module has no types (BTF)"
    if known:
        return f"there is no tracepoint {wanted}, but {known[0]}"
    return f"there is no tracepoint {wanted} in this kernel and its loaded modules"


def near(kernel: LiveKernel, name: str, count: int = 3) -> list[str]:
    """Return names like this one, of tracepoints when it has a `:`, else of functions; best first."""
    if ":" in name:
        return difflib.get_close_matches(name, kernel.tracepoints(), count)
    # Comparing with 60,000 names takes a second: only those that begin, end or contain alike.
    start, end = name[:3], name[-5:]
    alike = {
        other
        for btf in kernel.btfs()
        for other in btf.functions()
        if other.startswith(start) or other.endswith(end) or name in other
    }
    close = difflib.get_close_matches(name, alike, 4 * count)
    return [other for other in close if kernel.has_function(other)][:count]
