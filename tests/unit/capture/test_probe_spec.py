"""The `-p` syntax: every spelling, and one sentence for every mistake."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.capture.probe_spec import ProbeSpec, parse_probe
from fyke.errors import FykeError, UsageError

SYNTAX = "write [TYPE:]TARGET[/stack], e.g. kprobe:ip_rcv, tp:net:netif_rx/stack, ip_rcv or skb:kfree_skb"


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("k:ip_rcv", "kprobe", "ip_rcv"),
        ("kprobe:ip_rcv", "kprobe", "ip_rcv"),
        ("kr:ip_rcv", "kretprobe", "ip_rcv"),
        ("kretprobe:ip_rcv", "kretprobe", "ip_rcv"),
        ("fe:ip_rcv", "fentry", "ip_rcv"),
        ("fx:ip_rcv", "fexit", "ip_rcv"),
        ("fexit:ip_rcv", "fexit", "ip_rcv"),
        ("fentry:ip_rcv", "fentry", "ip_rcv"),
        ("func:ip_rcv", "func", "ip_rcv"),
        ("ip_rcv", "func", "ip_rcv"),
        ("tcp_v4_rcv", "func", "tcp_v4_rcv"),
        ("ip_finish_output2.isra.0", "func", "ip_finish_output2.isra.0"),
        ("tp:skb:kfree_skb", "raw_tracepoint", "skb:kfree_skb"),
        ("raw_tracepoint:skb:kfree_skb", "raw_tracepoint", "skb:kfree_skb"),
        ("skb:kfree_skb", "raw_tracepoint", "skb:kfree_skb"),
        ("xdp:filter_all", "xdp", "filter_all"),
        ("tc:id:17", "tc", "id:17"),
        # A subsystem's name that begins like a type's is no type.
        ("kvm:kvm_entry", "raw_tracepoint", "kvm:kvm_entry"),
    ],
)
def test_spellings(text: str, kind: str, target: str) -> None:
    assert parse_probe(text) == ProbeSpec(text, kind, target, stack=False)
    assert parse_probe(text + "/stack") == ProbeSpec(text + "/stack", kind, target, stack=True)
    assert not parse_probe(text).is_pattern


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("ip_*", "func", "ip_*"),
        ("*", "func", "*"),
        ("k:*_rcv*", "kprobe", "*_rcv*"),
        ("tp:net:*", "raw_tracepoint", "net:*"),
        ("*:*skb*", "raw_tracepoint", "*:*skb*"),
        ("xdp:*", "xdp", "*"),
    ],
)
def test_patterns(text: str, kind: str, target: str) -> None:
    spec = parse_probe(text)
    assert (spec.type, spec.target, spec.is_pattern) == (kind, target, True)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("ip_rcv/", "empty probe option in 'ip_rcv/'", "options: stack"),
        ("ip_rcv/stack/", "empty probe option in 'ip_rcv/stack/'", "options: stack"),
        ("ip_rcv/stack,", "empty probe option in 'ip_rcv/stack,'", "options: stack"),
        ("ip_rcv/stak", "unknown probe option 'stak' in 'ip_rcv/stak'", "options: stack"),
        ("ip_rcv/STACK", "unknown probe option 'STACK' in 'ip_rcv/STACK'", "options: stack"),
        ("ip_rcv/stack,stack", "a probe option is given twice in 'ip_rcv/stack,stack'", SYNTAX),
        ("ip_rcv/stack/stack", "a probe option is given twice in 'ip_rcv/stack/stack'", SYNTAX),
        ("", "probe '' names no target", SYNTAX),
        ("/stack", "probe '/stack' names no target", SYNTAX),
        ("k:", "probe 'k:' names no target", SYNTAX),
        ("tp:", "probe 'tp:' names no target", SYNTAX),
        ("tp:kfree_skb", "'kfree_skb' in 'tp:kfree_skb' is no tracepoint", "tp:skb:kfree_skb"),
        ("tp:skb:", "'skb:' in 'tp:skb:' is no tracepoint", "tp:skb:kfree_skb"),
        (":kfree_skb", "':kfree_skb' in ':kfree_skb' is no tracepoint", "tp:skb:kfree_skb"),
        ("tp:a:b:c", "'a:b:c' in 'tp:a:b:c' is no tracepoint", "tp:skb:kfree_skb"),
        ("k:skb:kfree_skb", "'skb:kfree_skb' in 'k:skb:kfree_skb' is no function name", SYNTAX),
        ("ip rcv", "'ip rcv' in 'ip rcv' is no function name", SYNTAX),
        ("ip_rc?", "'ip_rc?' in 'ip_rc?' is no function name", SYNTAX),
        ("ip_rcv\x1b[2J", "'ip_rcv\\x1b[2J' in 'ip_rcv\\x1b[2J' is no function name", SYNTAX),
        (
            "tracepoint:skb:kfree_skb",
            "unknown probe type 'tracepoint' in 'tracepoint:skb:kfree_skb'",
            "types: ",
        ),
        ("tc:id:x", "'id:x' in 'tc:id:x' is no BPF program", "`bpftool prog`"),
        ("xdp:a:b", "'a:b' in 'xdp:a:b' is no BPF program", "`bpftool prog`"),
        ("xdp:a\x07", "'a\\x07' in 'xdp:a\\x07' is no name of a BPF program", ""),
        ("xdp:", "probe 'xdp:' names no target", SYNTAX),
        ("K:a:b", "unknown probe type 'K' in 'K:a:b'", "types: "),
    ],
)
def test_mistakes(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_probe(text)
    assert caught.value.message == message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("u:ip_rcv", "u:PATH:SYMBOL"),
        ("u:", "u:PATH:SYMBOL"),
        ("uprobe::main", "u:PATH:SYMBOL"),
        ("u:/bin/sh:", "u:PATH:SYMBOL"),
        ("u:/bin/sh:a b", "u:PATH:SYMBOL"),
        ("u:/bin/sh:a\x1b[2J", "u:PATH:SYMBOL"),
        ("usdt:ovs:recv", "usdt:PATH:PROVIDER:NAME"),
        ("usdt:ovs::recv", "usdt:PATH:PROVIDER:NAME"),
        ("usdt::dpif:recv", "usdt:PATH:PROVIDER:NAME"),
    ],
)
def test_user_programs_need_a_path_and_names(text: str, form: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_probe(text)
    assert caught.value.message == f"{text!r} doesn't say what to probe of which program"
    assert caught.value.hint == f"write {form}"


@pytest.mark.parametrize(
    ("text", "kind", "path", "target"),
    [
        ("u:/bin/sh:main", "uprobe", "/bin/sh", "main"),
        ("uprobe:libc.so.6:mem*", "uprobe", "libc.so.6", "mem*"),
        ("u:./stack:f", "uprobe", "./stack", "f"),
        ("u:/a:b/c/stack:_ZN3foo3barE@plt", "uprobe", "/a:b/c/stack", "_ZN3foo3barE@plt"),
        ("u:k:main", "uprobe", "k", "main"),
        ("usdt:ovs-vswitchd:dpif_recv:recv_upcall", "usdt", "ovs-vswitchd", "dpif_recv:recv_upcall"),
        ("usdt:/x:y/z:p:n", "usdt", "/x:y/z", "p:n"),
        ("usdt:/proc/7/root/usr/sbin/ovs-vswitchd:*:*", "usdt", "/proc/7/root/usr/sbin/ovs-vswitchd", "*:*"),
    ],
)
def test_user_programs(text: str, kind: str, path: str, target: str) -> None:
    assert parse_probe(text) == ProbeSpec(text, kind, target, path=path)
    # Options stand behind the name, and there is none yet.
    with pytest.raises(UsageError) as caught:
        parse_probe(text + "/stack")
    assert caught.value.message == f"{text + '/stack'!r}: stacks of user programs can't be taken"
    with pytest.raises(UsageError, match="unknown probe option 'x'"):
        parse_probe(text + "/x")


PIECES = ("k", "tp", ":", ":", "/", ",", "stack", "*", "ip_rcv", ".", " ", "\0", "é", "\u202e", "u", "nope")


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_a_probe_or_a_mistake(text: str) -> None:
    mistake: FykeError | None = None
    try:
        spec = parse_probe(text)
    except FykeError as error:
        mistake = error
    if mistake:
        assert mistake.exit_code == 2
        assert mistake.message.isprintable()
    else:
        assert spec.target.count(":") == (spec.type == "raw_tracepoint")
        assert spec.stack == text.endswith("/stack")
