"""libpcap's compiler: by its binding cypcap, which brings it along, or the system's where there is no wheel.

Nothing else of fyke calls libpcap.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from functools import cache

from fyke.errors import Unsupported

# (code, jt, jf, k), as struct bpf_insn has them (pcap/bpf.h)
Insn = tuple[int, int, int, int]

LINKS = {"EN10MB": 1, "RAW": 12}  # DLT_*: packets begin with an Ethernet header, or with the network's


class Refused(Exception):
    """libpcap doesn't compile an expression."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def compiled(text: str, link: str, snaplen: int, *, optimise: bool) -> list[Insn]:
    """Compile an expression for a type of link, of LINKS. Raises Refused; Unsupported without libpcap."""
    try:
        import cypcap  # slow to import, and needed only with a filter
    except ImportError:
        return _by_system(text, LINKS[link], snaplen, optimise=optimise)
    with contextlib.closing(cypcap.open_dead(cypcap.DatalinkType[link], snaplen)) as pcap:
        try:
            found = pcap.compile(text, optimize=optimise)
        except cypcap.Error as error:
            raise Refused(_reason(str(error.args[-1]))) from None
    return [(code, jt, jf, k & 0xFFFFFFFF) for code, jt, jf, k in found]


def disassembled(program: Sequence[Insn]) -> str:
    """Return a line for each instruction, as `tcpdump -d` prints it."""
    try:
        import cypcap
    except ImportError:
        return "\n".join(
            str(_system().bpf_image(ctypes.byref(_Insn(*insn)), at).decode())
            for at, insn in enumerate(program)
        )
    text: str = cypcap.BpfProgram([tuple(insn) for insn in program]).dumps(cypcap.BpfDumpType.DISASSEMBLY)
    return text.rstrip("\n")


def _reason(said: str) -> str:
    return said.removeprefix("can't parse filter expression: ")


# ---- the system's library


class _Insn(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("insns", ctypes.POINTER(_Insn)))


def _by_system(text: str, link: int, snaplen: int, *, optimise: bool) -> list[Insn]:
    library = _system()
    handle = library.pcap_open_dead(link, snaplen)
    if not handle:
        raise MemoryError("pcap_open_dead")
    program = _Program()
    try:
        # The netmask isn't known: PCAP_NETMASK_UNKNOWN.
        if library.pcap_compile(
            handle, ctypes.byref(program), text.encode(), int(optimise), ctypes.c_uint32(0xFFFFFFFF)
        ):
            raise Refused(_reason(library.pcap_geterr(handle).decode(errors="replace")))
        return [(i.code, i.jt, i.jf, i.k) for i in program.insns[: program.length]]
    finally:
        library.pcap_freecode(ctypes.byref(program))
        library.pcap_close(handle)


@cache
def _system() -> ctypes.CDLL:
    for name in _NAMES:
        with contextlib.suppress(OSError):
            return _declared(ctypes.CDLL(name))
    raise Unsupported("packet filters need libpcap, which isn't here", "install it (Debian: libpcap0.8)")


_NAMES = (
    "libpcap.so.0.8",
    "libpcap.so.1",
    "libpcap.so",
    "libpcap.dylib",
)  # Debian's, others', musl's, macOS'


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_geterr.restype = ctypes.c_char_p
    library.bpf_image.restype = ctypes.c_char_p
    for function in ("pcap_compile", "pcap_geterr", "pcap_close"):
        getattr(library, function).argtypes = _ARGUMENTS[function]
    return library


_ARGUMENTS = {
    "pcap_compile": [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32],
    "pcap_geterr": [ctypes.c_void_p],
    "pcap_close": [ctypes.c_void_p],
}
