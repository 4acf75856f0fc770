"""Planning's view of a kernel made up here: two functions of its own, one module, four events."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import pytest
from btf_writer import BtfWriter

from fyke.collectors.kernel_view import KernelView
from fyke.errors import Unsupported
from fyke.kernel.absent import module_exporting
from fyke.kernel.btf import Btf
from fyke.kernel.kallsyms import Kallsyms
from fyke.kernel.view import LiveKernel, Sources

SYMBOLS = b"""\
ffffffff81000000 T _stext
ffffffff81000100 T ip_rcv
ffffffff81000200 T ip_forward
ffffffff81000300 t ip_finish_output2.isra.0
ffffffff81000400 t put_page
ffffffff81000500 t put_page
ffffffff81000600 T do_int3
ffffffff81000700 T ip_notrace
ffffffff81001000 T _etext
ffffffff82000000 t _sinittext
ffffffff82000100 t ip_init
ffffffff82000200 t _einittext
ffffffffc0300000 t nft_do_chain\t[nf_tables]
"""
FILTER_FUNCTIONS = {
    "ip_rcv": "",
    "ip_forward": "",
    "do_int3": "",
    "nft_do_chain": "nf_tables",
    "not_in_btf": "",
}
EVENTS = frozenset({"skb:kfree_skb", "net:netif_rx", "syscalls:sys_enter_read", "nft:nft_trace"})


class World:
    """A kernel whose sources can be taken away one by one."""

    def __init__(self) -> None:
        w = BtfWriter()
        number = w.int("int")
        skb = w.pointer(w.struct("sk_buff", 8, ("len", number, 0)))
        w.enum("skb_drop_reason", ("SKB_CONSUMED", 1))
        takes_skb = w.proto(number, ("skb", skb))
        for name in ("ip_rcv", "ip_forward", "put_page", "do_int3", "ip_notrace", "ip_init", "gone_inline"):
            w.func(name, takes_skb)
        void = w.pointer(0)
        for name in ("kfree_skb", "netif_rx", "bare"):
            w.add("typedef", f"btf_trace_{name}", w.pointer(w.proto(0, ("", void), ("", skb))))
        self.vmlinux = Btf.parse(w.blob())
        m = BtfWriter(self.vmlinux.end_id, self.vmlinux.end_string)
        self.module_function = m.func("nft_do_chain", takes_skb)
        m.enum("nft_drop_reason", ("NFT", 0x50000))
        m.add("typedef", "btf_trace_nft_trace", m.pointer(m.proto(0, ("", void), ("", number))))
        self.module = Btf.parse(m.blob(), self.vmlinux)

    def kernel(
        self,
        symbols: bytes | None = SYMBOLS,
        events: frozenset[str] | None = EVENTS,
        functions: dict[str, str] | None = None,
        modules: Mapping[str, Btf] | None = None,
        exported: Mapping[str, str] | None = None,
    ) -> LiveKernel:
        def given(value):  # type: ignore[no-untyped-def]
            def read():  # type: ignore[no-untyped-def]
                if value is None:
                    raise PermissionError(1, "Operation not permitted")
                return value

            return read

        return LiveKernel(
            Sources(
                vmlinux=lambda: self.vmlinux,
                modules=lambda _vmlinux: {"nf_tables": self.module} if modules is None else modules,
                kallsyms=given(None if symbols is None else Kallsyms(symbols)),
                events=given(events),
                functions=given(functions),
                blacklist=given(frozenset({"do_int3"})),
                module_exporting=(exported or {}).get,
            )
        )


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_it_answers_what_collectors_ask(world: World) -> None:
    kernel: KernelView = world.kernel()
    assert kernel.has_type("struct", "sk_buff")
    assert kernel.has_type("enum", "nft_drop_reason")
    assert not kernel.has_type("enum", "mac80211_drop_reason")
    assert kernel.has_function("ip_rcv")
    assert not kernel.has_function("put_page")
    assert kernel.has_tracepoint("kfree_skb")
    assert not kernel.has_tracepoint("skb:kfree_skb")
    assert kernel.enum("skb_drop_reason") == {1: "SKB_CONSUMED"}
    assert kernel.enum("nft_drop_reason") == {0x50000: "NFT"}
    assert kernel.enum("missing") == {}


def test_parameters_of_the_kernels_and_the_modules_functions(world: World) -> None:
    kernel = world.kernel()
    assert kernel.function_params("ip_rcv") == ["struct sk_buff *"]
    assert kernel.function_params("nft_do_chain") == ["struct sk_buff *"]
    assert kernel.function_params("not_in_btf") is None
    assert kernel.function_type("nft_do_chain") == ("nf_tables", world.module_function)
    assert kernel.function_type("ip_rcv") == ("", world.vmlinux.find("func", "ip_rcv"))
    assert kernel.function_prototype("nft_do_chain").returns == "int"
    assert kernel.tracepoint_params("kfree_skb") == ["struct sk_buff *"]
    assert kernel.tracepoint_params("nft_trace") == ["int"]
    assert kernel.tracepoint_params("missing") is None
    assert {"ip_rcv", "nft_do_chain"} <= kernel.functions_taking(["struct sk_buff *"])


def test_module_functions_are_found_without_symbols(world: World) -> None:
    assert world.kernel(symbols=None).function_params("nft_do_chain") == ["struct sk_buff *"]


def test_functions_match_among_those_ftrace_can_trace(world: World) -> None:
    kernel = world.kernel(functions=FILTER_FUNCTIONS)
    assert kernel.match_functions("ip_*") == ["ip_forward", "ip_rcv"]
    assert kernel.match_functions("*") == ["ip_forward", "ip_rcv", "nft_do_chain", "not_in_btf"]
    assert kernel.match_functions("ip_rcv") == ["ip_rcv"]
    assert kernel.match_functions("ip_notrace") == []
    assert kernel.match_functions("ip_rc?") == []


def test_functions_match_among_unambiguous_typed_symbols_when_that_list_is_hidden(world: World) -> None:
    kernel = world.kernel()
    assert kernel.match_functions("*") == ["ip_forward", "ip_notrace", "ip_rcv", "nft_do_chain"]
    assert kernel.match_functions("*_rcv") == ["ip_rcv"]


def test_without_symbols_the_types_tell_what_functions_there_are(world: World) -> None:
    kernel = world.kernel(symbols=None)
    assert kernel.match_functions("ip_r*") == ["ip_rcv"]
    assert kernel.has_function("ip_rcv")
    assert kernel.has_function("nft_do_chain")
    assert not kernel.has_function("ip_missing")
    assert not kernel.has_function("do_int3")
    assert not world.kernel(symbols=None, functions=FILTER_FUNCTIONS).has_function("ip_notrace")


def test_tracepoints_match_with_their_subsystem(world: World) -> None:
    kernel = world.kernel()
    assert kernel.match_tracepoints("skb:*") == ["skb:kfree_skb"]
    assert kernel.match_tracepoints("*:n*") == ["net:netif_rx", "nft:nft_trace"]
    assert kernel.match_tracepoints("*") == ["net:netif_rx", "nft:nft_trace", "skb:kfree_skb"]
    assert kernel.match_tracepoints("skb:kfree_skb") == ["skb:kfree_skb"]
    assert kernel.match_tracepoints("kfree_skb") == ["skb:kfree_skb"]
    assert kernel.match_tracepoints("net:kfree_skb") == []
    assert kernel.match_tracepoints("syscalls:*") == []
    # A tracepoint without an event belongs to no subsystem that anybody could check.
    assert kernel.match_tracepoints("sched:bare") == ["sched:bare"]


def test_without_tracefs_the_subsystem_is_believed_and_wildcards_are_refused(world: World) -> None:
    kernel = world.kernel(events=None)
    assert kernel.match_tracepoints("skb:kfree_skb") == ["skb:kfree_skb"]
    assert kernel.match_tracepoints("skb:missing") == []
    with pytest.raises(Unsupported, match="tracefs") as refused:
        kernel.match_tracepoints("skb:*")
    assert "tracefs" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ip_rcv", None),
        ("ip_finish_output2", "exists only as ip_finish_output2.isra.0"),
        ("put_page", "2 functions"),
        ("gone_inline", "inlined wherever"),
        ("ip_init", "only while booting"),
        ("ip_missing", "not in this kernel"),
        ("do_int3", "NOKPROBE"),
        ("ip_notrace", "notrace"),
    ],
)
def test_why_a_function_cannot_be_probed(world: World, name: str, reason: str | None) -> None:
    found = world.kernel(functions=FILTER_FUNCTIONS).why_no_function(name)
    assert found is None if reason is None else reason in (found or "")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("skb:kfree_skb", None),
        ("kfree_skb", None),
        ("net:kfree_skb", "but skb:kfree_skb"),
        ("syscalls:sys_enter_read", "no tracepoint"),
        ("skb:missing", "there is no tracepoint skb:missing"),
    ],
)
def test_why_a_tracepoint_cannot_be_probed(world: World, name: str, reason: str | None) -> None:
    found = world.kernel().why_no_tracepoint(name)
    assert found is None if reason is None else reason in (found or "")


def test_why_a_function_of_a_module_cannot_be_probed(world: World) -> None:
    kernel = world.kernel(exported={"ip_vs_new": "ip_vs"})
    assert (
        kernel.why_no_function("ip_vs_new")
        == "ip_vs_new is a function of the module ip_vs, which isn't loaded (modprobe ip_vs)"
    )
    both = world.kernel(symbols=SYMBOLS + b"ffffffffc0300100 t ip_forward\t[nf_tables]\n")
    assert (
        both.why_no_function("ip_forward")
        == "ip_forward is the name of 2 functions (in the kernel, nf_tables), which can't be told apart"
    )


def test_modules_list_what_they_offer(tmp_path: Path) -> None:
    folder = tmp_path / platform.release()
    folder.mkdir()
    (folder / "modules.symbols").write_text("# comment\nalias symbol:ip_vs_new ip_vs\nalias symbol:ip_vs x\n")
    assert module_exporting("ip_vs_new", tmp_path) == "ip_vs"
    assert module_exporting("ip_vs", tmp_path) == "x"
    assert module_exporting("ip_vs_", tmp_path) is None
    with pytest.raises(FileNotFoundError):
        module_exporting("ip_vs", tmp_path / "none")


def test_all_tracepoints_are_listed_with_and_without_tracefs(world: World) -> None:
    listed = ["net:netif_rx", "nft:nft_trace", "skb:kfree_skb"]
    assert world.kernel().tracepoints() == listed
    assert world.kernel(events=None).tracepoints() == [
        "net:netif_rx",
        "skb:kfree_skb",
        "unknown:bare",
        "unknown:nft_trace",
    ]


def test_near_names_can_be_probed(world: World) -> None:
    kernel = world.kernel()
    assert kernel.near("ip_rvc")[0] == "ip_rcv"
    assert "put_page" not in kernel.near("put_pag")
    assert kernel.near("skb:kfree_skp") == ["skb:kfree_skb"]
    assert world.kernel(events=None).near("skb:kfree_skp") == ["skb:kfree_skb"]
    assert kernel.near("zzzzzzzz") == []


def test_a_corrupt_module_does_not_spoil_the_others(world: World) -> None:
    class Torn(dict[str, Btf]):
        def __getitem__(self, name: str) -> Btf:
            if name == "torn":
                raise ValueError("corrupt BTF")
            return super().__getitem__(name)

    kernel = world.kernel(modules=Torn(torn=world.module, nf_tables=world.module))
    assert kernel.enum("nft_drop_reason") == {0x50000: "NFT"}
    assert kernel.function_params("nft_do_chain") == ["struct sk_buff *"]


def test_a_kernel_without_types_is_unsupported() -> None:
    def missing() -> Btf:
        raise FileNotFoundError(2, "No such file or directory", "/sys/kernel/btf/vmlinux")

    with pytest.raises(Unsupported, match="BTF") as refused:
        LiveKernel(Sources(vmlinux=missing)).has_tracepoint("kfree_skb")
    assert "CONFIG_DEBUG_INFO_BTF" in refused.value.hint


def test_symbols_can_be_read_again(world: World) -> None:
    readings = [SYMBOLS, SYMBOLS + b"ffffffffc0500000 t bpf_prog_12_raw_tp\t[bpf]\n"]
    kernel = LiveKernel(Sources(vmlinux=lambda: world.vmlinux, kallsyms=lambda: Kallsyms(readings.pop(0))))
    assert kernel.symbols.symbol(0xFFFFFFFFC0500004) == "0xffffffffc0500004"
    assert kernel.read_symbols_again().symbol(0xFFFFFFFFC0500004) == "bpf_prog_12_raw_tp+0x4"
    assert kernel.symbols.symbol(0xFFFFFFFFC0500004) == "bpf_prog_12_raw_tp+0x4"


def test_what_was_forgotten_is_found_again(world: World) -> None:
    kernel = world.kernel(functions={"ip_rcv": ""})

    def answers() -> list[object]:
        return [
            *(kernel.has_function(name) for name in ("ip_rcv", "put_page")),
            *(kernel.enum(name) for name in ("skb_drop_reason", "nft_drop_reason")),
            *(kernel.function_params("nft_do_chain"), kernel.tracepoint_params("nft_trace")),
            *(kernel.functions_taking(["struct sk_buff *"]), kernel.match_tracepoints("*:kfree_skb")),
            kernel.filter_functions,
        ]

    before, symbols = answers(), kernel.symbols
    assert vars(world.vmlinux)["_names"]
    kernel.forget(symbols=False)
    assert not vars(world.vmlinux)["_names"]
    assert "filter_functions" not in vars(kernel)
    assert answers() == before
    assert kernel.symbols is symbols
    kernel.forget(symbols=True)
    assert "symbols" not in vars(kernel)
    assert answers() == before


def test_nothing_is_read_to_be_forgotten() -> None:
    LiveKernel(Sources(vmlinux=lambda: pytest.fail("read"))).forget(symbols=True)
