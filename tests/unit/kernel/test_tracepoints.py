from __future__ import annotations

from fyke.kernel.tracepoints import (
    parse_available_events,
    parse_available_filter_functions,
    parse_kprobe_blacklist,
    usual_subsystem,
)


def test_events_are_subsystem_and_name() -> None:
    assert parse_available_events(b"net:netif_rx\nskb:kfree_skb\nnonsense\n\n") == {
        "net:netif_rx",
        "skb:kfree_skb",
    }
    assert parse_available_events(b"") == frozenset()


def test_functions_know_their_module_and_shared_names_are_left_out() -> None:
    data = b"ip_rcv\ninit_once\nnft_do_chain [nf_tables]\ninit_once [ext4]\ntcp_v4_rcv\n"
    assert parse_available_filter_functions(data) == {
        "ip_rcv": "",
        "nft_do_chain": "nf_tables",
        "tcp_v4_rcv": "",
    }
    assert parse_available_filter_functions(b"") == {}


def test_names_of_the_kprobe_blacklist() -> None:
    data = (
        b"0xffffffff81234560-0xffffffff81234580\tdo_int3\n"
        b"0xffffffffc0300000-0xffffffffc0300010\tsafe_fn [mod]\n"
        b"garbage\n"
    )
    assert parse_kprobe_blacklist(data) == {"do_int3", "safe_fn"}


def test_names_that_are_no_utf8_are_kept_apart() -> None:
    assert parse_available_events(b"net:\xff\n") == {"net:\\xff"}


def test_subsystems_of_networking_are_known_by_the_longest_beginning() -> None:
    names = (
        "netif_rx",
        "kfree_skb",
        "inet_sock_set_state",
        "fib_table_lookup",
        "fib6_table_lookup",
        "xdp_redirect",
    )
    assert [usual_subsystem(name) for name in names] == ["net", "skb", "sock", "fib", "fib6", "xdp"]
    assert usual_subsystem("sched_switch") == "unknown"
