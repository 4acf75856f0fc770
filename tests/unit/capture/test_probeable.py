"""What inspect finds on a kernel made up here."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest
from elf_writer import CODE, FUNCTION, Program, note
from made_kernel import ALL, INT, SKB, SOCK, WHY_NOT, made_kernel

from fyke.capture.plan import Options, make_plan
from fyke.capture.probeable import Inspection, Probeable
from fyke.errors import FykeError, Unsupported, UsageError
from fyke.kernel.bpf_programs import BpfProgram

MORE = {"tcp_probed": (SOCK, INT), "two_lines": (INT, SKB)}


def inspection(
    features: tuple[str, ...] = ALL, *, everything: bool = False, only: tuple[str, ...] = (), **made: Any
) -> Inspection:
    return Inspection(made_kernel(features, more=MORE, **made), only, everything=everything)


def names(found: list[Probeable]) -> list[str]:
    return [one.probe for one in found]


def refused(text: str, **settings: Any) -> FykeError:
    with pytest.raises(FykeError) as caught:
        inspection(**settings).find(text)
    return caught.value


def test_everything_is_what_collectors_get_data_at_in_order() -> None:
    found = names(inspection().find("*"))
    assert found == sorted(found)
    assert {"kprobe:ip_rcv", "kprobe:tcp_probed", "kprobe:nft_do_chain", "tp:skb:kfree_skb"} <= set(found)
    assert "kprobe:ip_select" not in found
    assert "tp:sched:sched_switch" not in found


def test_what_is_listed_can_be_collected_as_it_is_written() -> None:
    here = inspection()
    for one in here.find("*"):
        plan = make_plan(Options(probes=(one.probe,)), here.kernel, 2)
        (planned,) = (p for p in plan.probes if one.probe in p.asked)
        assert planned.mechanism == one.mechanisms[0]
        takers = {c.name for c in plan.collectors if planned.sections & {s.name for s in c.sections}}
        assert set(one.collectors) == takers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ip_rcv", ["kprobe:ip_rcv"]),
        ("func:ip_rcv", ["kprobe:ip_rcv"]),
        ("kr:ip_rcv", ["kretprobe:ip_rcv"]),
        ("fe:ip_rcv", ["fentry:ip_rcv"]),
        ("fx:ip_*t", ["fexit:ip_output"]),
        ("*kfree_skb*", ["kprobe:kfree_skb_partial", "tp:skb:kfree_skb"]),
        ("kfree_skb", ["tp:skb:kfree_skb"]),
        ("tp:*:netif*", ["tp:net:netif_receive_skb"]),
        ("tp:kfree_skb", ["tp:skb:kfree_skb"]),
        ("skb:*", ["tp:skb:consume_skb", "tp:skb:kfree_skb"]),
    ],
)
def test_a_pattern_and_its_type_narrow(text: str, found: list[str]) -> None:
    assert names(inspection().find(text)) == found


def test_a_place_says_how_and_what() -> None:
    (one,) = inspection().find("kprobe:tcp_probed")
    assert one.mechanisms == ("kprobe_multi",)
    assert one.collectors == ("ns",)
    assert one.found == {"net": "sock->__sk_common.skc_net.net"}
    assert [param.type for param in one.params] == ["struct sock *", "int"]
    (one,) = inspection().find("nft_do_chain")
    assert (one.module, one.mechanisms) == ("nf_tables", ("kprobe_multi", "fentry"))
    assert one.found == {"skb": "skb"}
    (one,) = inspection().find("tp:skb:kfree_skb")
    assert (one.mechanisms, one.found) == (("raw_tracepoint",), {"skb": "skb", "reason": "reason"})
    assert "skb-drop" in one.collectors


def test_mechanisms_are_those_of_the_kernel() -> None:
    assert inspection(("kprobe",)).find("ip_rcv")[0].mechanisms == ("kprobe",)
    (one,) = inspection(("fentry",)).find("ip_rcv")
    assert (one.probe, one.mechanisms) == ("fentry:ip_rcv", ("fentry",))
    # An argument behind the sixth is read by fentry only.
    assert inspection().find("six_then_skb")[0].mechanisms == ("fentry",)


def test_where_functions_cannot_be_probed_they_are_left_out_and_that_is_said() -> None:
    here = inspection(())
    assert {one.type for one in here.find("*")} == {"raw_tracepoint"}
    (note,) = here.notes
    why = f"no kprobes here, {WHY_NOT['kprobe']}, and no fentry here, {WHY_NOT['fentry']}"
    assert note.endswith(f"functions are left out: {why}; --all shows them")
    (one,) = inspection((), everything=True).find("ip_rcv")
    assert (one.probe, one.mechanisms) == ("kprobe:ip_rcv", ())
    error = refused("ip_rcv", features=())
    assert isinstance(error, Unsupported)
    assert error.message == f"function ip_rcv can't be probed: {why}"


def test_collectors_narrow() -> None:
    assert "kprobe:tcp_probed" not in names(inspection(only=("skb",)).find("*"))
    assert names(inspection(only=("skb-drop",)).find("tp:*")) == ["tp:skb:kfree_skb"]
    assert names(inspection(only=("nft",), nft="new").find("*")) == ["kprobe:__nft_trace_packet"]
    with pytest.raises(UsageError, match="unknown collector 'nope'"):
        inspection(only=("nope",))
    with pytest.raises(Unsupported, match="collector nft can't work here"):
        inspection(only=("nft",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ip_select", "nothing can be taken at ip_select: its arguments are int, int"),
        ("no_btf", "nothing can be taken at no_btf: the kernel's BTF doesn't describe its arguments"),
        ("ip_rcvv", "ip_rcvv is inlined, in a module that isn't loaded, or not in this kernel"),
        ("tp:net:nope", "there is no tracepoint net:nope in this kernel and its loaded modules"),
        (
            "tp:skb:netif_receive_skb",
            "there is no tracepoint skb:netif_receive_skb, but net:netif_receive_skb",
        ),
        ("sched:sched_switch", "nothing can be taken at sched:sched_switch: its arguments are int, int"),
        ("nothing_*", "nothing here matches nothing_* and has an argument that no collector takes data from"),
        ("a:b:c", "unknown probe type 'a' in 'a:b:c'"),
        ("k:a:b", "'k:a:b' is no pattern of names"),
        ("usdt:x", "'usdt:x' doesn't say what to probe of which program"),
        ("x y", "'x y' is no pattern of names"),
        ("x\x1b[0m", "'x\\x1b[0m' is no pattern of names"),
        ("", "'' is no pattern of names"),
        ("tp:", "'tp:' is no pattern of names"),
    ],
)
def test_nothing_is_explained(text: str, message: str) -> None:
    error = refused(text)
    assert error.message == message
    assert isinstance(error, UsageError)


def test_what_is_in_a_program_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "app"
    functions = {"main": (CODE + 16, FUNCTION), "maintain": (CODE + 20, FUNCTION), "stop": (CODE, FUNCTION)}
    notes = (
        note("p", "one", CODE + 4, "-4@-7 8f@1 8@5") + note("p", "one", CODE + 40) + note("p", "two", CODE)
    )
    machine = {"x86_64": 62, "aarch64": 183}[platform.machine()]
    path.write_bytes(Program(functions=functions, notes=notes, machine=machine).image())
    assert names(inspection().find(f"u:{path}:ma*")) == [f"uprobe:{path}:main", f"uprobe:{path}:maintain"]
    one, two = inspection((*ALL, "uprobe")).find(f"usdt:{path}:p:*")
    assert (one.probe, two.probe) == (f"usdt:{path}:p:one", f"usdt:{path}:p:two")
    assert (one.mechanisms, one.found, two.found) == (("usdt",), {"arguments": "0, 2"}, {})
    assert refused(f"u:{path}:none").message.startswith("there is no function none in ")


def test_loaded_programs_are_listed_by_names_that_say_which() -> None:
    loaded = (
        BpfProgram(7, "xdp", "balance", 3),
        BpfProgram(8, "xdp", "count", 3),
        BpfProgram(9, "xdp", "count", 3, why_not="it has no types (BTF)"),
        BpfProgram(10, "tc", "shape", 3),
    )
    here = inspection(programs=loaded)
    found = here.find("xdp:*")
    assert [(one.probe, one.mechanisms) for one in found] == [
        ("xdp:balance", ("fexit",)),
        ("xdp:id:8", ("fexit",)),
        ("xdp:id:9", ()),
    ]
    assert found[0].collectors == ("skb-tracking", "skb", "ns", "dev")
    (shape,) = here.find("tc:shape")
    assert (shape.probe, shape.found) == ("tc:shape", {"skb": "argument 1"})
    assert "ct" in shape.collectors
    assert refused("xdp:nope", programs=loaded).message == "no XDP program nope is loaded here"


def test_near_names_are_told() -> None:
    assert "ip_rcv" in refused("ip_rcvv").hint


def test_without_tracefs_subsystems_are_those_of_linux() -> None:
    found = names(inspection(tracefs=False).find("tp:*"))
    assert {"tp:skb:kfree_skb", "tp:net:net_dev_start_xmit"} <= set(found)
    assert "tp:unknown:wide" in found
    assert names(inspection(tracefs=False).find("kfree_skb")) == ["tp:skb:kfree_skb"]
