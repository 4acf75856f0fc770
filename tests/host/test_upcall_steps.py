"""The steps of an upcall in user space, with a program that has ovs-vswitchd's probes and not the rest of it.

What the datapath would note of a message is written for datagrams: they wait in a socket as messages do.
"""

from __future__ import annotations

import platform
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM

import pyarrow as pa
import pytest

from fyke.capture import libbpf
from fyke.capture.ovs_user import Daemons, daemon_probes
from fyke.capture.session import Session
from live.jited import has_private_stack
from live.recording import RX, Row, kernel, packet_id, plan
from live.topology import namespaces
from live.waiting import eventually

SOURCE = Path(__file__).parents[1] / "live" / "upcalls.c"
PORT, COUNT, BYTES = 6081, 4, 20_000  # so large that they aren't copied by a way of their own
FIRST_NUMBER = 100
CONTENTS = (0, 1, 2, 1)  # the first byte: two packets are equal
# struct upcall_thread without its requests, and struct execute
_THREAD, _EXECUTE, MOST = struct.Struct("=Q6I"), struct.Struct("=6Q2I2Q2IQ"), 64
# Sums of the packets: of one the message has another's, so it isn't of this packet; of one it has none.
SUMS = (1, None, 0, None)


def _upcall(row: Row, number: int, head_sum: int) -> bytes:
    """Return struct upcall (core/upcalls.bpf.h)."""
    t = row["skb_tracking"]
    packet = (t["timestamp_ns"], t["orig_head"])
    return struct.pack("=6Q2IQ", *packet, 0, 0, t["skb"], row["timestamp_ns"], row["cpu"], number, head_sum)


def _executes(session: Session) -> list[tuple[int, int, int]]:
    """Return the requests for packets that wait: number of the message, size and sum of the packet."""
    fd = session._loaded._object.map_fd("upcall_threads")
    _, value, count = libbpf.elements(fd, 8, _THREAD.size + MOST * _EXECUTE.size, 1 << 9)
    assert count == 1
    first, last = _THREAD.unpack_from(value)[4:6]
    rows = [_EXECUTE.unpack_from(value, _THREAD.size + n % MOST * _EXECUTE.size) for n in range(first, last)]
    return [(row[7], row[11], row[12]) for row in rows]


def _sum(packet: bytes, words: int = 4) -> int:
    """Return packet_sum() of core/upcalls.bpf.h; of a head with three words, head_sum()."""
    found = 0
    for word in (*struct.unpack_from(f"={words}Q", packet, 14), *[0] * (4 - words)):
        found = (found ^ word) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    return found ^ found >> 32


WITH_PROBES = ("-O2", "upcalls.c")
WITHOUT = ("-O2", "-g", "-DFUNCTIONS", "upcalls.c", "lib/dpif.c", "lib/dpif-netlink.c")


@pytest.mark.host_only
@pytest.mark.needs("uprobe")
@pytest.mark.parametrize("built", [WITH_PROBES, WITHOUT], ids=["probes", "functions"])
def test_each_step_knows_which_packet_it_is_of(built: tuple[str, ...], tmp_path: Path) -> None:
    """Answers come in another order than questions, and a flow's key is a copy."""
    program = tmp_path / "ovs-vswitchd"
    subprocess.run(["gcc", "-o", str(program), *built], check=True, cwd=SOURCE.parent)
    with namespaces("a") as (ns,):
        ns.ip("link set lo up")
        with ns.entered():
            daemon = subprocess.Popen(
                [program, str(PORT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        with daemon, ns.socket(AF_INET, SOCK_DGRAM) as sender:
            assert daemon.stdin is not None
            assert daemon.stdout is not None
            assert daemon.stdout.readline() == "0\n"
            usual = plan(collectors=("skb-tracking", "skb"), probes=(RX,))
            daemons = Daemons(platform.machine(), cache=tmp_path)
            own = {file_id: f for file_id in daemons.look() if (f := daemons.followed.get(file_id))}
            assert not daemons.refused
            ((_, places),) = [(i, f) for i, f in own.items() if f[0][1].path == str(program)]
            planned = replace(
                usual,
                probes=(*usual.probes, *daemon_probes(places)),
                sections=("userspace", *usual.sections, "ovs_recv", "ovs_operation"),
                ovs_track=True,
                ovs_files=daemons.known,
            )
            batches: list[pa.RecordBatch] = []
            with Session(planned, kernel()) as session:

                def sent() -> list[Row]:
                    if batch := session.poll(flush=True):
                        batches.append(batch)
                    rows = pa.Table.from_batches(batches).to_pylist() if batches else []
                    return [r for r in rows if r["packet"] and r["packet"]["data"][36:38] == PORT.to_bytes(2)]

                for content in CONTENTS:
                    sender.sendto(bytes([content]) * BYTES, ("127.0.0.1", PORT))
                eventually(lambda: len(sent()) == COUNT)
                packets = sent()
                queued = session._loaded._object.map_fd("upcalls_queued")
                for n, (row, content, sum_) in enumerate(zip(packets, CONTENTS, SUMS, strict=True)):
                    key = struct.pack("=Q", row["skb_tracking"]["skb"])
                    head_sum = _sum(bytes([content]) * BYTES, 3) if sum_ is None else sum_
                    libbpf.update_element(queued, key, _upcall(row, FIRST_NUMBER + n, head_sum))
                in_user_space = [
                    fd for fd, (how, _) in session._loaded.programs.items() if how in ("uprobe", "usdt")
                ]
                assert in_user_space
                assert not any(map(has_private_stack, in_user_space))  # there tasks are preempted
                daemon.stdin.write(f"{COUNT}\n")
                daemon.stdin.flush()
                assert daemon.stdout.readline() == f"{COUNT}\n"
                waiting = _executes(session)
                batches += session.stop()
            daemon.stdin.close()
    rows = [row for row in pa.Table.from_batches(batches).to_pylist() if row["userspace"]]
    numbers = [None, *range(FIRST_NUMBER + 1, FIRST_NUMBER + COUNT)]
    recv = [row for row in rows if row["ovs_recv"]]
    assert [row["ovs_recv"]["queue_id"] for row in recv] == numbers
    assert [row["ovs_recv"]["batch_index"] for row in recv] == list(range(COUNT))
    assert {(row["ovs_recv"]["pkt_size"], row["ovs_recv"]["key_size"]) for row in recv} == {(BYTES, 200)}
    answers = [(row["ovs_operation"]["op_type"], row["ovs_operation"]["queue_id"]) for row in rows[COUNT:]]
    # Of equal keys the first is made a flow of, though it is another's turn.
    puts = {FIRST_NUMBER + 3: FIRST_NUMBER + 1, FIRST_NUMBER + 1: None}
    assert answers == [
        answer
        for number in reversed(numbers)
        for answer in (("put", puts.get(number, number)), ("exec", number))
    ]
    marked = {
        row["ovs_operation"]["queue_id"]: row["ovs_operation"]["candidates"]
        for row in rows[COUNT:]
        if row["ovs_operation"]["candidates"]
    }
    assert marked == {FIRST_NUMBER + 1: 2, FIRST_NUMBER + 3: 2}
    # What the kernel will know again when the thread sends them: the first of its packets is asked for last.
    assert [(number, size) for number, size, _ in waiting] == [
        (number or 0, BYTES) for number in reversed(numbers)
    ]
    assert [sum_ for *_, sum_ in waiting] == [_sum(bytes([n]) * BYTES) for n in reversed(CONTENTS)]
    ids = dict(zip(numbers, map(packet_id, packets), strict=True))
    for row in rows:
        number = (row["ovs_recv"] or row["ovs_operation"])["queue_id"]
        if number is not None:
            assert packet_id(row) == ids[number]
        assert {row["userspace"]["path"]} == {str(program)}
