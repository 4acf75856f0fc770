from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest
from field_machine import LAYOUT, Machine
from field_samples import Samples
from made_structs import MadeTypes
from oracle import checked, pointer, root

from fyke.errors import Unsupported, UsageError
from fyke.filters.fields import everyday
from fyke.filters.fields.grammar import parse
from fyke.filters.fields.lower import lower_fields
from fyke.filters.fields.resolve import resolve
from fyke.kernel import netns, tasks

TYPES = MadeTypes()
# Where the made structures have their namespace, and it its inode.
NET_OF_DEV, NET_OF_SOCK, INODE = 40, 8, 8


def run(expression: str, samples: Samples) -> bool:
    found = resolve(parse(expression.replace(".ns.inum", ".inum")), TYPES)
    image = samples.image
    machine = Machine(image.read, image.current)
    roots = [image.roots.get(name, 0) for name in found.roots]
    return bool(machine.run(lower_fields(found, LAYOUT), roots, 0))


def number(samples: Samples, address: int) -> int | None:
    try:
        return int.from_bytes(samples.image.read(checked(address), 4), "little")
    except LookupError:
        return None


def inode_of(samples: Samples, address: int) -> int | None:
    return number(samples, address + INODE) if address else None


def namespace(samples: Samples) -> int | None:
    """As the ns collector has it: the device's, else the socket's, else the argument's."""
    for name, at in (("net_device", NET_OF_DEV), ("sock", NET_OF_SOCK)):
        try:
            found = pointer(samples.image, checked(root(name, samples.image)) + at)
        except LookupError:
            continue
        if found:
            return inode_of(samples, found)
    return inode_of(samples, root("net", samples.image))


def test_a_namespace_is_the_devices_else_the_sockets_else_the_arguments() -> None:
    true = 0
    for seed in range(500):
        samples = Samples(seed)
        for inode in {inode_of(samples, net) for net in samples.objects["net"]}:
            expected = namespace(samples) == inode
            true += expected
            assert inode is not None
            assert run(everyday.netns_expression(inode), samples) == expected, seed
    assert 100 < true < 900


def test_a_device_is_known_by_index_and_namespace() -> None:
    true = 0
    for seed in range(500):
        samples = Samples(seed)
        dev = root("net_device", samples.image)
        index = number(samples, dev + 16)
        if index is None or index >> 31:
            continue
        try:
            inode = inode_of(samples, pointer(samples.image, dev + NET_OF_DEV))
        except LookupError:
            inode = None
        true += inode is not None
        asked = 5 if inode is None else inode
        assert run(everyday.netif_expression(index, asked), samples) == (inode is not None)
        assert not run(everyday.netif_expression(index, asked ^ 1), samples)
        assert not run(everyday.netif_expression(index ^ 1, asked), samples)
    assert true > 100


def test_without_a_namespace_a_device_is_one_of_ours() -> None:
    assert everyday.netif_expression(3, None) == everyday.netif_expression(
        3, os.stat("/proc/self/ns/net").st_ino
    )


def test_a_process_is_the_current_one() -> None:
    samples = Samples(1)
    pid, tgid = (number(samples, samples.image.current + at) for at in (0, 4))
    assert pid is not None
    assert tgid is not None
    samples.image.regions[samples.image.current] = (
        (77).to_bytes(4, "little") + (70).to_bytes(4, "little") + bytes(40)
    )
    assert run(everyday.pid_expression(70, False), samples)
    assert run(everyday.pid_expression(77, True), samples)
    assert not run(everyday.pid_expression(77, False), samples)


# What options name


def test_processes_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "in_initial_pid_namespace", lambda: True)
    assert everyday.resolve_pid(os.getpid()) == (os.getpid(), False)
    done, started = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        done.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    try:
        assert thread.native_id is not None
        assert everyday.resolve_pid(thread.native_id) == (thread.native_id, True)
    finally:
        done.set()
        thread.join()
    for nobody in (0, -1, 1 << 22, 1 << 80):
        with pytest.raises(UsageError, match=f"no process {nobody}"):
            everyday.resolve_pid(nobody)


def test_in_a_pid_namespace_numbers_are_not_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "in_initial_pid_namespace", lambda: False)
    with pytest.raises(Unsupported, match="PID namespace"):
        everyday.resolve_pid(os.getpid())


def test_namespaces_by_path_name_and_inode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.stat("/proc/self/ns/net").st_ino
    monkeypatch.setattr(netns, "NAMES", tmp_path)
    monkeypatch.setattr(netns, "names", lambda: ["blue", "green"])
    (tmp_path / "blue").symlink_to("/proc/self/ns/net")
    (tmp_path / "green").write_text("no namespace")
    (tmp_path / "77").symlink_to("/proc/self/ns/net")
    assert everyday.resolve_netns("/proc/self/ns/net") == own
    assert everyday.resolve_netns("blue") == own
    assert everyday.resolve_netns("77") == own  # a name goes before a number
    assert everyday.resolve_netns("78") == 78
    for text, sentence, hint in (
        ("bleu", "there is no network namespace bleu", "blue"),
        ("green", "green is no network namespace", ""),
        ("/nowhere/x", "there is no file /nowhere/x", ""),
        ("/proc/self/ns/mnt", "/proc/self/ns/mnt is no network namespace", "/proc/PID/ns/net"),
        ("0", "can't be an inode", "blue"),
        ("4294967296", "can't be an inode", ""),
        ("9" * 5000, "can't be", ""),
        ("²", "there is no network namespace", ""),
        ("", "needs a name", ""),
        ("..", "needs a name", ""),
        ("a\0b", "needs a name", ""),
    ):
        with pytest.raises(UsageError) as failed:
            everyday.resolve_netns(text)
        assert sentence in failed.value.message
        assert hint in failed.value.hint


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="no network namespace"):
        everyday.resolve_netns(str(tmp_path / "fifo"))


def test_devices_of_our_own_namespace() -> None:
    own = os.stat("/proc/self/ns/net").st_ino
    assert everyday.resolve_netif("lo", None) == socket.if_nametoindex("lo")
    assert everyday.resolve_netif("lo", own) == socket.if_nametoindex("lo")
    with pytest.raises(UsageError, match="there is no device loo") as failed:
        everyday.resolve_netif("loo", None)
    assert "lo" in failed.value.hint
    with pytest.raises(UsageError, match="the network namespace 5 has no process and no file"):
        everyday.resolve_netif("lo", 5)


def test_a_namespace_that_may_not_be_entered_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices(_inode: int | None) -> dict[str, int]:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(netns, "devices", devices)
    with pytest.raises(UsageError, match="can't be entered: Operation not permitted") as failed:
        everyday.resolve_netif("eth0", 7)
    assert failed.value.hint == "run it as root"


def test_names_that_others_chose_cant_write_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # dev_valid_name() of the kernel takes escape sequences, and so does a file system.
    evil, shown = "\x1b[31mx", r"\x1b[31mx"
    monkeypatch.setattr(netns, "NAMES", tmp_path)
    monkeypatch.setattr(netns, "devices", lambda _inode: {evil: 3, "lo": 1})
    (tmp_path / evil).write_text("no namespace")
    for call, parts in (
        (lambda: everyday.resolve_netif("eth0", None), ("hint",)),
        (lambda: everyday.resolve_netif(evil + "y", None), ("message", "hint")),
        (lambda: everyday.resolve_netns(evil), ("message",)),
        (lambda: everyday.resolve_netns("/nowhere/" + evil), ("message",)),
    ):
        with pytest.raises(UsageError) as failed:
            call()
        assert (failed.value.message + failed.value.hint).isprintable()
        for part in parts:
            assert shown in getattr(failed.value, part)
    monkeypatch.setattr(netns, "names", lambda: [evil])
    with pytest.raises(UsageError) as failed:
        everyday.resolve_netns("blue")
    assert failed.value.hint == f"named ones: {shown}"
