"""The process that reads the rulesets of network namespaces.

A process of its own, since libnftables may end it (see `fyke.kernel.nftables`), and since it changes its
namespace. It is asked over a socket, its stdin: a request is the descriptor of a namespace and what is known
of it; the reply is JSON after its length. It ends when the socket is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
from dataclasses import dataclass

from fyke.events.escape import name_from_bytes
from fyke.kernel import helper, netns, nftables
from fyke.kernel.nfnetlink import Changed, NfNetlink
from fyke.kernel.rule_texts import rule_texts

_REQUEST = struct.Struct("=QI")  # cookie and generation that are known
_LENGTH = struct.Struct("=Q")
_TRIES = 5
SECONDS = 30.0

Texts = dict[tuple[int, int], str]


class Unreadable(Exception):
    """A ruleset can't be read; the text says why. fatal: no other can either."""

    def __init__(self, why: str, *, fatal: bool = False) -> None:
        super().__init__(why)
        self.fatal = fatal


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The rules of a namespace at a generation: (table handle, rule handle) -> text; None: as was known."""

    cookie: int
    generation: int
    texts: Texts | None


class Reader:
    """The process, which is started when it is needed, and again when it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def read(self, descriptor: int, known: Ruleset | None) -> Ruleset:
        """Read the rules of a namespace, unless they are what is known. Raises Unreadable."""
        try:
            if self._socket is None:
                self._start()
            assert self._socket is not None
            request = _REQUEST.pack(known.cookie, known.generation) if known else _REQUEST.pack(0, 0)
            socket.send_fds(self._socket, [request], [descriptor])
            (length,) = _LENGTH.unpack(_receive(self._socket, _LENGTH.size))
            reply = json.loads(_receive(self._socket, length))
        except (OSError, struct.error) as error:
            self.close()
            raise Unreadable(f"nftables' library failed on it ({error})") from error
        if reply["why"]:
            raise Unreadable(reply["why"], fatal=reply["fatal"])
        rows = reply["texts"]
        texts = None if rows is None else {(table, rule): text for table, rule, text in rows}
        return Ruleset(reply["cookie"], reply["generation"], texts)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = helper.start(__name__, "serve", stdin=theirs.fileno())
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(SECONDS)
        self._socket = ours

    def close(self) -> None:
        """End the process."""
        if self._socket:
            self._socket.close()
            self._socket = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        chunk = connection.recv(min(length - len(data), 1 << 20))
        if not chunk:
            raise ConnectionResetError("it ended")
        data += chunk
    return bytes(data)


def serve() -> None:
    """Be that process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=os.dup(0))
    home = netns.open_namespace(netns.own_inode())
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, _REQUEST.size, 1)
        if not data:
            return
        reply = json.dumps(_reply(descriptors[0], *_REQUEST.unpack(data))).encode()
        # Neither by a descriptor nor by being in it is a namespace kept alive that its user deletes.
        netns.enter(home)
        os.close(descriptors[0])
        connection.sendall(_LENGTH.pack(len(reply)) + reply)


def _reply(descriptor: int, cookie: int, generation: int) -> dict[str, object]:
    why, fatal = "", False
    try:
        netns.enter(descriptor)
        found = read_ruleset(cookie, generation)
        rows = None if found.texts is None else [(*handles, text) for handles, text in found.texts.items()]
        return {"why": "", "cookie": found.cookie, "generation": found.generation, "texts": rows}
    except Unreadable as error:
        why, fatal = str(error), error.fatal
    except OSError as error:
        why, fatal = error.strerror or str(error), isinstance(error, PermissionError)
    except nftables.NftError as error:
        why = str(error)
    return {"why": why, "fatal": fatal}


def read_ruleset(cookie: int = 0, generation: int = 0) -> Ruleset:
    """Read the rules of the namespace this thread is in, unless it is the one that is known.

    Raises Unreadable, NftError, OSError.
    """
    if not nftables.is_installed():
        raise Unreadable(nftables.MISSING, fatal=True)
    with NfNetlink() as netlink:
        here = netlink.cookie()
        for _ in range(_TRIES):
            now = netlink.generation()
            if (here, now) == (cookie, generation):
                return Ruleset(here, now, None)
            with contextlib.suppress(Changed):
                lists = netlink.tables(), netlink.chains(), netlink.rules()
                # A new one each time: it keeps the names of devices, which are others in other namespaces.
                with nftables.Nftables(nftables.HANDLE | nftables.STATELESS | nftables.TERSE) as nft:
                    listing = nft.run(b"list ruleset")
                if netlink.generation() == now:
                    texts = rule_texts(listing, *lists)
                    return Ruleset(here, now, {key: name_from_bytes(raw) for key, raw in texts.items()})
    raise Unreadable("it changed all the time while it was read")
