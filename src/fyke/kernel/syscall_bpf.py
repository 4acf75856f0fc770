"""bpf(2) itself, for what libbpf 1.1 can't do or is too much for: probing the kernel, cookies, counters.

Offsets are those of `union bpf_attr` and `struct bpf_prog_info` (include/uapi/linux/bpf.h). Every function
raises OSError with the kernel's errno; every returned descriptor is the caller's to close.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fyke.kernel.syscalls import number_of, syscall

MAP_CREATE, PROG_LOAD, OBJ_GET_INFO_BY_FD, RAW_TRACEPOINT_OPEN, LINK_CREATE = 0, 5, 15, 17, 28
PROG_GET_NEXT_ID, PROG_GET_FD_BY_ID, BTF_GET_FD_BY_ID, BTF_GET_NEXT_ID = 11, 13, 19, 23

PROG_TYPE_KPROBE, PROG_TYPE_RAW_TRACEPOINT, PROG_TYPE_TRACING = 2, 17, 26
MAP_TYPE_RINGBUF = 27
TRACE_RAW_TP, TRACE_FENTRY, TRACE_FEXIT, PERF_EVENT, TRACE_KPROBE_MULTI = 23, 24, 25, 41, 42

_ATTR_SIZE = 144
_LOG_SIZE = 1 << 16
_INFO_SIZE = 232
_BTF_INFO_SIZE = 32
_RUN_TIME_NS = 192
_RECURSION_MISSES_END = 216


class VerifierError(OSError):
    """A program was refused; `log` is what the verifier said."""

    def __init__(self, error: OSError, log: str) -> None:
        super().__init__(error.errno, error.strerror)
        self.log = log


@dataclass(frozen=True, slots=True)
class ProgInfo:
    """Counters of a loaded program; run_* count while kernel.bpf_stats_enabled is 1, None is not known."""

    id: int
    run_time_ns: int
    run_cnt: int
    recursion_misses: int | None


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """What a loaded program is.

    type: enum bpf_prog_type. name: at most 15 characters. btf_id: of its types; function: type id of its main
    function among them; 0 for none. compiled: it isn't interpreted. on_device: it runs on a network device.
    """

    id: int
    type: int
    name: str
    btf_id: int
    function: int
    compiled: bool
    on_device: bool


def instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    """Return one eBPF instruction (struct bpf_insn)."""
    return struct.pack("<BBhi", code, src << 4 | dst, offset, imm)


# r0 = 0; exit
RETURN_0 = instruction(0xB7) + instruction(0x95)


def call_helper(helper: int) -> bytes:
    """Return a program that calls a helper with the context in r1, then returns 0."""
    return instruction(0x85, imm=helper) + RETURN_0


def prog_load(
    prog_type: int,
    instructions: bytes,
    *,
    name: str = "fyke",
    attach_type: int = 0,
    attach_btf_id: int = 0,
    attach_btf_fd: int = 0,
    log: bool = False,
) -> int:
    """Load a GPL program and return its descriptor. With `log`, VerifierError carries the verifier's log."""
    code, licence = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"GPL")
    text = ctypes.create_string_buffer(_LOG_SIZE) if log else None
    attr = _attr()
    struct.pack_into("<IIQQ", attr, 0, prog_type, len(instructions) // 8, _address(code), _address(licence))
    if text is not None:
        struct.pack_into("<IIQ", attr, 24, 1, _LOG_SIZE, _address(text))
    struct.pack_into("<16sII", attr, 48, name.encode()[:15], 0, attach_type)
    struct.pack_into("<II", attr, 108, attach_btf_id, attach_btf_fd)
    try:
        return _bpf(PROG_LOAD, attr)
    except OSError as error:
        if text is None:
            raise
        raise VerifierError(error, text.value.decode(errors="backslashreplace")) from None


def map_create(
    map_type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    *,
    flags: int = 0,
    inner_map_fd: int = 0,
    name: str = "fyke",
) -> int:
    """Create a map and return its descriptor."""
    attr = _attr()
    struct.pack_into("<IIIIII", attr, 0, map_type, key_size, value_size, max_entries, flags, inner_map_fd)
    struct.pack_into("<16s", attr, 28, name.encode()[:15])
    return _bpf(MAP_CREATE, attr)


def raw_tracepoint_open(prog_fd: int, name: str | None, cookie: int = 0) -> int:
    """Attach a program to a raw tracepoint and return the link's descriptor.

    Without a name it attaches a tracing program (fentry, fexit) to what it was loaded for. A cookie$
    other than 0 gives EINVAL before Linux kernel commit 68ca5d4eebb8 ("bpf: support BPF cookie in raw
    tracepoint (raw_tp, tp_btf) programs") (in v6.10).
    """
    text = None if name is None else ctypes.create_string_buffer(name.encode())
    attr = _attr()
    struct.pack_into("<QIIQ", attr, 0, 0 if text is None else _address(text), prog_fd & 0xFFFFFFFF, 0, cookie)
    return _bpf(RAW_TRACEPOINT_OPEN, attr)


def link_create_perf(prog_fd: int, perf_fd: int, cookie: int = 0) -> int:
    """Attach a program to a perf event (kprobe, uprobe) and return the link's descriptor."""
    attr = _attr()
    struct.pack_into("<IIIIQ", attr, 0, prog_fd, perf_fd, PERF_EVENT, 0, cookie)
    return _bpf(LINK_CREATE, attr)


def link_create_kprobe_multi(
    prog_fd: int, symbols: Sequence[str], cookies: Sequence[int] | None = None, *, returns: bool = False
) -> int:
    """Attach a program to many functions at once and return the link's descriptor."""
    names = [ctypes.create_string_buffer(symbol.encode()) for symbol in symbols]
    pointers = (ctypes.c_uint64 * len(names))(*(_address(name) for name in names))
    values = (ctypes.c_uint64 * len(names))(*(cookies or ()))
    attr = _attr()
    struct.pack_into("<IIIIIIQQQ", attr, 0, prog_fd, 0, TRACE_KPROBE_MULTI, 0, int(returns), len(names),
                     ctypes.addressof(pointers), 0, ctypes.addressof(values) if cookies else 0)  # fmt: skip
    return _bpf(LINK_CREATE, attr)


def prog_info(prog_fd: int) -> ProgInfo:
    """Return a loaded program's counters."""
    info = ctypes.create_string_buffer(_INFO_SIZE)
    filled = _info(prog_fd, info)
    run_time_ns, run_cnt, misses = struct.unpack_from("<QQQ", info, _RUN_TIME_NS)
    (prog_id,) = struct.unpack_from("<I", info, 4)
    return ProgInfo(prog_id, run_time_ns, run_cnt, misses if filled >= _RECURSION_MISSES_END else None)


def program_ids() -> list[int]:
    """Return the ids of all loaded programs, in order."""
    return list(_ids(PROG_GET_NEXT_ID))


def program_fd(number: int) -> int:
    """Return a descriptor of a loaded program. FileNotFoundError when there is none of that id."""
    return _fd_by_id(PROG_GET_FD_BY_ID, number)


def program_facts(prog_fd: int) -> ProgramFacts:
    """Return what a loaded program is."""
    info, function = ctypes.create_string_buffer(_INFO_SIZE), ctypes.create_string_buffer(8)
    # One record of func_info, that of the main function: nr_func_info, func_info.
    struct.pack_into("<IQI", info, 132, 8, _address(function), 1)
    _info(prog_fd, info)
    kind, number, compiled = struct.unpack_from("<II8xI", info)
    name, ifindex = struct.unpack_from("<16sI", info, 64)
    (btf,) = struct.unpack_from("<I", info, 128)
    (functions,) = struct.unpack_from("<I", info, 144)
    (type_id,) = struct.unpack_from("<4xI", function)
    text = name.partition(b"\0")[0].decode(errors="backslashreplace")
    return ProgramFacts(number, kind, text, btf, type_id if functions else 0, bool(compiled), bool(ifindex))


def btf_fd_by_id(number: int) -> int:
    """Return a descriptor of loaded types. FileNotFoundError when there are none of that id."""
    return _fd_by_id(BTF_GET_FD_BY_ID, number)


def btf_data(fd: int) -> bytes:
    """Return loaded types, as a file of /sys/kernel/btf has them."""
    info = ctypes.create_string_buffer(_BTF_INFO_SIZE)
    _info(fd, info)
    (size,) = struct.unpack_from("<I", info, 8)
    data = ctypes.create_string_buffer(size)
    info = ctypes.create_string_buffer(_BTF_INFO_SIZE)
    struct.pack_into("<QI", info, 0, _address(data), size)
    _info(fd, info)
    return data.raw


def btf_fd(module: str) -> int:
    """Return a descriptor of the types of a loaded module. LookupError when there is no such module."""
    name, info = ctypes.create_string_buffer(64), ctypes.create_string_buffer(_BTF_INFO_SIZE)
    for number in _ids(BTF_GET_NEXT_ID):
        try:
            fd = btf_fd_by_id(number)
        except FileNotFoundError:  # gone meanwhile
            continue
        # struct bpf_btf_info: btf, btf_size, id, name, name_len, kernel_btf
        struct.pack_into("<QIIQII", info, 0, 0, 0, 0, _address(name), len(name), 0)
        try:
            _info(fd, info)
        except BaseException:
            os.close(fd)
            raise
        (of_kernel,) = struct.unpack_from("<I", info, 28)
        if of_kernel and name.value.decode() == module:
            return fd
        os.close(fd)
    raise LookupError(f"no types of module {module}")


def _ids(command: int) -> Iterator[int]:
    attr, number = _attr(), 0
    while True:
        struct.pack_into("<II", attr, 0, number, 0)
        try:
            _bpf(command, attr)
        except FileNotFoundError:
            return
        (number,) = struct.unpack_from("<I", attr, 4)
        yield number


def _fd_by_id(command: int, number: int) -> int:
    attr = _attr()
    struct.pack_into("<I", attr, 0, number)
    return _bpf(command, attr)


def _info(fd: int, info: ctypes.Array[ctypes.c_char]) -> int:
    """Fill `info`, a struct that says what to fill in, and return how many bytes of it the kernel knows."""
    attr = _attr()
    struct.pack_into("<IIQ", attr, 0, fd, len(info), _address(info))
    _bpf(OBJ_GET_INFO_BY_FD, attr)
    return int(struct.unpack_from("<I", attr, 4)[0])


def _attr() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(_ATTR_SIZE)


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _bpf(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    return syscall(number_of("bpf"), command, attr, len(attr))
