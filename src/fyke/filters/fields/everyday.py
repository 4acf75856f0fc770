"""The everyday filters `--pid`, `--netns`, `--netif`: resolved when planned, spelled as field filters."""

from __future__ import annotations

from fyke.errors import Unsupported, UsageError
from fyke.events.escape import printable
from fyke.filters.fields.types import near_names
from fyke.kernel import netns, tasks


def pid_expression(pid: int, is_thread: bool) -> str:
    """Return the filter for what a process, or one thread of it, does."""
    # Not task_struct: where a function takes a task, that needn't be who calls it.
    return f"current.{'pid' if is_thread else 'tgid'} == {pid}"


def netns_expression(inode: int) -> str:
    """Return the filter for a network namespace: the packet's device's, else its socket's, else a `net`."""
    dev, sock = "net_device.nd_net.net", "sock.__sk_common.skc_net.net"
    # `not PATH` is true also where the path ends before: each is asked only if the one before isn't known.
    return (
        f"{dev}.ns.inum == {inode} or "
        f"not {dev} and ({sock}.ns.inum == {inode} or not {sock} and net.ns.inum == {inode})"
    )


def netif_expression(ifindex: int, netns_inode: int | None) -> str:
    """Return the filter for packets on a device in a network namespace, or (None) in the one we are in."""
    # An index is one device's only within a namespace.
    netns_inode = netns.own_inode() if netns_inode is None else netns_inode
    return f"net_device.ifindex == {ifindex} and net_device.nd_net.net.ns.inum == {netns_inode}"


def resolve_pid(number: int) -> tuple[int, bool]:
    """Return (the number, whether it is a thread's that isn't its process' first) for `pid_expression`.

    UsageError when nobody has it, Unsupported in a PID namespace.
    """
    if not tasks.in_initial_pid_namespace():
        raise Unsupported(
            "--pid: in this PID namespace processes have other numbers than the kernel's own",
            "run it in the host's PID namespace (docker: --pid=host)",
        )
    tgid = tasks.tgid_of(number) if number > 0 else None
    if tgid is None:
        raise UsageError(f"there is no process {number}", "ps -eL shows processes and threads")
    return number, tgid != number


def resolve_netns(text: str) -> int:
    """Return the inode of a network namespace given as a name of `ip netns`, a path or its inode.

    UsageError when there is none, with the names there are. A number that is no name is believed: a namespace
    needn't have any file.
    """
    is_path = "/" in text
    if not text or "\0" in text or text in (".", ".."):
        raise UsageError("--netns needs a name, a path or an inode number", _names_hint(text))
    path = text if is_path else f"{netns.NAMES}/{text}"
    try:
        inode = netns.inode_of(path)
    except FileNotFoundError:
        if text.isascii() and text.isdigit():
            return _inode(text)
        what = f"there is no {'file' if is_path else 'network namespace'} {printable(text)}"
        raise UsageError(f"--netns: {what}", "" if is_path else _names_hint(text)) from None
    except OSError as error:
        raise UsageError(
            f"--netns: {printable(path)} can't be read: {error.strerror}", "run it as root"
        ) from None
    if inode is None:
        raise UsageError(
            f"--netns: {printable(path)} is no network namespace", "those of processes are /proc/PID/ns/net"
        )
    return inode


def resolve_netif(name: str, netns_inode: int | None) -> int:
    """Return the index of a device in a network namespace, or (None) in the one we are in.

    UsageError when it has none of that name, with near ones, or when the namespace can't be entered.
    """
    shown = printable(name)
    try:
        devices = netns.devices(netns_inode)
    except LookupError:
        raise UsageError(
            f"--netif {shown}: the network namespace {netns_inode} has no process and no file",
            "give the device's index in a filter: -m 'net_device.ifindex == N'",
        ) from None
    except OSError as error:
        raise UsageError(
            f"--netif {shown}: its network namespace can't be entered: {error.strerror}", "run it as root"
        ) from None
    if name not in devices:
        where = "" if netns_inode is None else f" in the network namespace {netns_inode}"
        near = near_names(name, devices) or sorted(devices)[:8]
        raise UsageError(
            f"--netif: there is no device {shown or 'without a name'}{where}", _listed("devices", near)
        )
    return devices[name]


def _inode(text: str) -> int:
    if len(text) > 10 or not 0 < int(text) < 1 << 32:
        raise UsageError(f"--netns: {text} can't be an inode of a network namespace", _names_hint(text))
    return int(text)


def _names_hint(text: str) -> str:
    names = netns.names()
    if not names:
        return "there are no named ones; give a path such as /proc/PID/ns/net"
    return _listed("named ones", near_names(text, names) or names[:8])


def _listed(what: str, names: list[str]) -> str:
    """Return a hint. Whoever names a device or a namespace may put escape sequences into it."""
    return f"{what}: {', '.join(map(printable, names))}"
