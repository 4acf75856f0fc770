"""What the kernel made of a BPF program for its processor."""

from __future__ import annotations

import ctypes
import struct

from fyke.kernel import syscall_bpf

__all__ = ["has_private_stack"]

# add %gs:this_cpu_off, %r9: the stack that the program has on this CPU (emit_private_frame_ptr(), of x86).
_PRIVATE_STACK = b"\x65\x4c\x03\x0c\x25"
_INFO_BYTES, _LENGTH_AT, _ADDRESS_AT = 232, 16, 24  # struct bpf_prog_info: jited_prog_len, jited_prog_insns


def has_private_stack(fd: int) -> bool:
    """Say whether a program runs on a stack of its CPU's, not on that of the task. Only known on x86-64."""
    code = ctypes.create_string_buffer(1 << 20)
    info = ctypes.create_string_buffer(_INFO_BYTES)
    struct.pack_into("<I", info, _LENGTH_AT, len(code))
    struct.pack_into("<Q", info, _ADDRESS_AT, ctypes.addressof(code))
    syscall_bpf._info(fd, info)
    length = struct.unpack_from("<I", info, _LENGTH_AT)[0]
    assert length, "the kernel doesn't show it"
    return _PRIVATE_STACK in code.raw[:length]
