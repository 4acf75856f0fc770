"""libbpf's messages, the verifier's among them, kept instead of printed."""

from __future__ import annotations

import ctypes as ct
import mmap

# enum libbpf_print_level
_INFO = 1
# A va_list is passed on as a pointer.
_PRINT_FN = ct.CFUNCTYPE(ct.c_int, ct.c_int, ct.c_char_p, ct.c_void_p)
_MOST_BYTES = 1 << 24  # of a message; what the verifier says of a program is one


class Log:
    """What was said in one call; the last lines explain a failure. callback: a libbpf_print_fn_t."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        vsnprintf = ct.CDLL(None).vsnprintf
        vsnprintf.argtypes = (ct.c_char_p, ct.c_size_t, ct.c_char_p, ct.c_void_p)
        # Memory that isn't written isn't taken.
        buffer = (ct.c_char * _MOST_BYTES).from_buffer(mmap.mmap(-1, _MOST_BYTES))
        lines = self.lines  # not self, which would keep itself alive, and with it the buffer

        def keep(level: int, fmt: bytes, arguments: int) -> int:
            if level <= _INFO:
                vsnprintf(buffer, len(buffer), fmt, arguments)
                lines.extend(buffer.value.decode(errors="replace").splitlines())
            return 0

        self.callback = _PRINT_FN(keep)

    def summary(self) -> str:
        """Return the line that says most: the verifier's last complaint, or libbpf's own last words."""
        lines = [line.strip() for line in self.lines if line.strip()]
        for i, line in enumerate(lines):
            if "END PROG LOAD LOG" in line and i >= 2:
                return lines[i - 2] if lines[i - 1].startswith("processed ") else lines[i - 1]
        return lines[-1] if lines else ""
