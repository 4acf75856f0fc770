"""Field filters about the kernel's own structures, in fyke's own program and the real kernel.

The structures are made up in kernel memory, with pointers that lead nowhere too; the second opinion walks the
filter's tree over the same memory. The code alone, and odder fields, are in test_field_filter_code.py.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pytest

from fyke.capture.filters import FilterOptions
from fyke.errors import UsageError
from fyke.filters.fields.everyday import netif_expression, netns_expression, pid_expression
from fyke.filters.fields.grammar import parse
from live.field_pairs import KernelSamples, declared, holds
from live.image import Image
from live.image_run import ImageRun
from live.recording import TX, kernel

pytestmark = pytest.mark.ends_only

DROP, TIMEOUT, LOOKUP = "skb:kfree_skb", "net:net_dev_xmit_timeout", "fib6:fib6_table_lookup"
LACKS: tuple[tuple[str, ...], ...] = ((), ("bpf_rdonly_cast",))
# For an emulated kernel, where loading takes seconds.
FEW = (
    "sk_buff.mark:0x3 == 1 or sk_buff.pkt_type in {2-4} or sk_buff._nfct:~0x7:nf_conn.mark < 8",
    'net_device.name in {"eth0", "a", ""} or sock.__sk_common.skc_daddr in {10.0.0.0/8, 0.0.0.0-0.0.0.9}',
    "sock.__sk_common.skc_v6_daddr == fe80::/10 or not net.ns.inum <= 0x800 and sk_buff.protocol != 0x0800",
    'net_device.dev_addr == 02:00:00:00:00:01 or net_device.rtnl_link_ops.kind != "veth"',
    "sk_buff.hash == 1 or net_device.ifindex < 0 or sk_buff.fclone in {1-2} or sock.sk_err in {-1, 1-3, 7}",
)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with Image(kernel()) as image:
        yield image


def at(symbol: str, text: str, lacks: int = 0) -> ImageRun:
    """Return a field filter's collection. Of a drop its reason can always be recorded, if it has one."""
    collectors: tuple[str, ...] = ("ns", "dev")
    if symbol == DROP:
        collectors = ("skb-drop",) if has_reason() else ("skb",)
    filters = FilterOptions(fields=text)
    return ImageRun(
        LACKS[lacks], probes=(f"tp:{symbol}",), collectors=collectors, skb_sections=("meta",), filters=filters
    )


def has_reason() -> bool:
    """Whether drops have reasons.

    Linux kernel commit c504e5c2f964 ("net: skb: introduce kfree_skb_reason()") (in v5.17).
    """
    return "enum skb_drop_reason" in (kernel().tracepoint_params("kfree_skb") or ())


def shows(skb: int) -> bool:
    """Whether a drop of what may be a packet is recorded when it matches."""
    return has_reason() or 1 << 63 <= skb < (1 << 64) - 4095


def takes_socket() -> bool:
    """Whether a drop's tracepoint has the receiving socket as well as the packet.

    Linux kernel commit c53795d48ee8 ("net: add rx_sk to trace_kfree_skb") (in v6.11).
    """
    return "struct sock *" in (kernel().tracepoint_params("kfree_skb") or ())


# Random pairs


@pytest.mark.parametrize(
    ("made", "images"),
    [pytest.param(60, 12, id="made_up", marks=pytest.mark.host_only), pytest.param(0, 25, id="few")],
)
def test_random_memory(image: Image, made: int, images: int) -> None:
    arguments = ("sk_buff", "sock") if takes_socket() else ("sk_buff",)
    kinds: Counter[bool] = Counter()
    wrong: list[str] = []
    with declared(image):
        samples = KernelSamples(made, image, arguments)
        texts: Iterator[str] | Sequence[str] = (
            FEW if not made else (str(samples.expr(2)) for _ in range(made))
        )
        for number, text in enumerate(texts):
            try:
                run = at(DROP, text, number % 2)
            except UsageError as error:
                if "structures" not in error.message:  # more than there is room for
                    raise
                continue
            expr = parse(text)
            with run:
                for _ in range(images):
                    samples.fill()
                    roots = samples.image.roots
                    recorded = run(roots["sk_buff"], 0, 0, roots.get("sock", 0)).recorded
                    kinds[recorded] += 1
                    if recorded != (holds(expr, samples.image) and shows(roots["sk_buff"])):
                        wrong.append(f"{text}: {recorded}, {roots}")
    assert not wrong
    assert min(kinds[True], kinds[False]) > 15, kinds


# The everyday filters: every combination of what may be there, and what may not


OURS, OTHER = 4026531999, 4026532000


class Net:
    """A namespace as a device or socket may have it: ours, another, none, one that can't be read."""

    def __init__(self, image: Image) -> None:
        self.image = image
        ours, other = (image.struct("net", **{"ns.inum": inum}) for inum in (OURS, OTHER))
        self.pointers = {"ours": ours, "other": other, "none": 0, "unmapped": image.unmapped}

    def devices(self) -> dict[str, int]:
        """Return devices by namespace, and what is none."""
        of = {
            name: self.image.struct("net_device", name=b"eth0", ifindex=7, **{"nd_net.net": pointer})
            for name, pointer in self.pointers.items()
        }
        return of | {"null": 0, "wild": self.image.unmapped}

    def sockets(self) -> dict[str, int]:
        of = {
            name: self.image.struct("sock", **{"__sk_common.skc_net.net": pointer})
            for name, pointer in self.pointers.items()
        }
        return of | {"null": 0, "wild": self.image.unmapped}


def first_known(*names: str) -> str:
    """Return the namespace of the first that has one. A pointer to none that can be read is one, too."""
    return next((name for name in names if name not in ("none", "null", "wild")), "none")


@pytest.mark.parametrize("lacks", [0, pytest.param(1, marks=pytest.mark.host_only)])
def test_netns_of_a_packet(image: Image, lacks: int) -> None:
    with at(DROP, netns_expression(OURS), lacks) as run:
        image.clear()
        net = Net(image)
        devices, sockets = net.devices(), net.sockets()
        for (dev, at_dev), (sk, at_sk) in product(devices.items(), sockets.items()):
            verdict = run(image.struct("sk_buff", dev=at_dev, sk=at_sk))
            assert verdict.recorded == (first_known(dev, sk) == "ours"), (dev, sk)
        for sk, at_sk in sockets.items():  # a drop may have only a socket
            if takes_socket():
                assert run(0, 0, 0, at_sk).recorded == (sk == "ours"), sk
                skb = image.struct("sk_buff", sk=sockets["ours"])
                # One that is named as an argument is meant, whichever the packet has; unless it is none.
                assert run(skb, 0, 0, at_sk).recorded == (sk in ("ours", "null")), sk


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        pytest.param(netns_expression(OURS), ("ours",), id="netns"),
        pytest.param(netif_expression(7, OURS), ("ours",), id="netif"),
        pytest.param(netif_expression(8, OURS), (), id="another_netif"),
        pytest.param("net_device.ifindex == 7", ("ours", "other", "none", "unmapped"), id="field"),
    ],
)
@pytest.mark.parametrize("symbol", [TX, TIMEOUT])
def test_a_device_that_is_an_argument(image: Image, symbol: str, text: str, passing: tuple[str, ...]) -> None:
    with at(symbol, text) as run:
        image.clear()
        devices = Net(image).devices()
        for dev, address in devices.items():
            if symbol == TIMEOUT:
                assert run(address).recorded == (dev in passing), dev
                continue
            # The argument is there before the packet's; where it is null the packet's counts.
            skb = image.struct("sk_buff", dev=devices["other"])
            meant = "other" if dev == "null" else dev
            assert run(skb, address).recorded == (meant in passing), dev
            assert run(0, address).recorded == (dev in passing), dev
            assert run(image.struct("sk_buff", dev=address), 0).recorded == (dev in passing), dev


def test_a_namespace_that_is_an_argument(image: Image) -> None:
    with at(LOOKUP, netns_expression(OURS)) as run:
        image.clear()
        for name, address in Net(image).pointers.items():
            assert run(address).recorded == (name == "ours"), name


def test_the_process_that_is_running(image: Image) -> None:
    image.clear()
    skb = image.struct("sk_buff")
    found: list[Any] = []
    with at(DROP, pid_expression(os.getpid(), is_thread=False)) as run:
        assert run(skb).recorded
        _in_thread(lambda: found.append(run(skb).recorded))
    with at(DROP, pid_expression(os.getpid(), is_thread=True)) as run:
        assert run(skb).recorded
        _in_thread(lambda: found.append(run(skb).recorded))
    with at(DROP, pid_expression(os.getppid(), is_thread=False)) as run:
        assert not run(skb).recorded
    assert found == [True, False]


def _in_thread(run: Any) -> None:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
