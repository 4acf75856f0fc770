"""nftables' own library, libnftables, through ctypes: what `nft` itself runs on.

It ends the process when it doesn't understand what the kernel has (assertions, exit()), so that rulesets of
others are read with it in a process of its own (`fyke.kernel.ruleset_reader`).
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from types import TracebackType
from typing import Any, Self

MISSING = "nftables' library isn't installed (apt install libnftables1, dnf install nftables)"

_LIBRARY = "libnftables.so.1"
# NFT_CTX_OUTPUT_* of nftables/libnftables.h. Terse: without the elements of named sets.
STATELESS, HANDLE, TERSE = 1 << 2, 1 << 3, 1 << 11


class NftError(Exception):
    """nftables refused a command; the text is its own."""


class Nftables:
    """What `nft` is, in the network namespace of the thread that makes it; a context manager.

    Its socket is open until `close()`: a table that it made with the flag owner lives as long. A command must
    be run in that namespace too, since names of devices are looked up there. Making it raises OSError.
    """

    def __init__(self, flags: int = 0) -> None:
        self._library = _library()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_output_set_flags(self._context, flags)

    def run(self, commands: bytes) -> bytes:
        """Run commands in nft's language, all or none of them; return what was printed. Raises NftError."""
        status = self._library.nft_run_cmd_from_buffer(self._context, commands)
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        errors: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if status:
            first = errors.decode("utf-8", "replace").strip().partition("\n")[0]
            raise NftError(first.removeprefix("internal:0:0-0: ").removeprefix("Error: "))
        return output

    def close(self) -> None:
        """Close its socket."""
        context, self._context = self._context, None
        if context:
            self._library.nft_ctx_free(context)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


@cache
def _library() -> Any:
    library = ctypes.CDLL(_LIBRARY, use_errno=True)
    context, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("nft_ctx_new", context, [ctypes.c_uint32]),
        ("nft_ctx_free", None, [context]),
        ("nft_ctx_buffer_output", ctypes.c_int, [context]),
        ("nft_ctx_buffer_error", ctypes.c_int, [context]),
        ("nft_ctx_output_set_flags", None, [context, ctypes.c_uint]),
        ("nft_run_cmd_from_buffer", ctypes.c_int, [context, text]),
        ("nft_ctx_get_output_buffer", text, [context]),
        ("nft_ctx_get_error_buffer", text, [context]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def run_at_end(commands: str) -> None:
    """Wait for the end of stdin, which is a pipe of a process that ends, and run commands then."""
    sys.stdin.buffer.read()
    with Nftables() as nft:
        nft.run(commands.encode())


def is_installed() -> bool:
    """Say whether the library is there."""
    try:
        _library()
    except (OSError, AttributeError):
        return False
    return True
