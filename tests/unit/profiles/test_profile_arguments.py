"""Options of profiles: what they give, how several are put together, and how they are written."""

from __future__ import annotations

import argparse

import pytest
from profile_samples import PATH, MadeMachine, with_args

from fyke.cli.main import parser_of
from fyke.errors import UsageError
from fyke.profiles.arguments import Command, Given

COLLECT, PCAP = Command(lambda: parser_of("collect")), Command(lambda: parser_of("pcap"))
NOTHING: Given = {}


def gives(args: str) -> Given:
    return COLLECT.of_variant(with_args(args).variant("collect", MadeMachine()))


# What a profile says -> the words of a command line that mean the same.
SAME: list[tuple[str, list[str]]] = [
    ("{probe: kprobe:ip_rcv}", ["--probe", "kprobe:ip_rcv"]),
    ("{probe: [ip_rcv, 'net:netif_rx/stack']}", ["-p", "ip_rcv", "-p", "net:netif_rx/stack"]),
    ("{skb_sections: [meta, gso]}", ["--skb-sections", "meta", "--skb-sections", "gso"]),
    ("{skb-sections: 'meta,gso'}", ["--skb-sections", "meta,gso"]),
    ("{filter_packet: '-x'}", ["--filter-packet=-x"]),
    ("{filter-packet: ''}", ["-f", ""]),
    ("{f: tcp}", ["-f", "tcp"]),
    ("{e: ~}", ["-e"]),
    ("{stack: ~}", ["--stack"]),
    ("{stack: true}", ["--stack"]),
    ("{out: ~}", ["-o"]),
    ("{out: a.json}", ["-o", "a.json"]),
    ("{snaplen: 96, out_rotate: 10MB}", ["--snaplen", "96", "--out-rotate", "10MB"]),
    ("{probe: []}", []),
    ("", []),
]


@pytest.mark.parametrize(("args", "words"), SAME)
def test_a_profile_gives_what_a_command_line_gives(args: str, words: list[str]) -> None:
    assert gives(args) == COLLECT.given(words)
    merged = COLLECT.namespace(COLLECT.merged([gives(args), NOTHING]))
    assert merged == parser_of("collect").parse_args(words)


WRONG = {
    "{colectors: skb}": "colectors: fyke collect has no option --colectors",
    "{nothing_like-it: x}": "nothing_like-it: fyke collect has no option --nothing-like-it",
    "{help: ~}": "help: fyke collect has no option --help",
    "{h: ~}": "h: fyke collect has no option -h",
    "{'': x}": ": fyke collect has no option --",
    "{probe: ~}": "probe: --probe needs a value",
    "{snaplen: many}": "snaplen: 'many' is not a whole number",
    "{snaplen: [1, 2]}": "snaplen: it takes one value, not a list",
    "{stack: [a]}": "stack: it takes no value",
    "{stack: maybe}": "stack: it takes no value",
    "{format: wide}": "format: argument --format: invalid choice: 'wide'",
    "{'a\\eb': x}": "a\\eb: fyke collect has no option",
}


@pytest.mark.parametrize("args", WRONG)
def test_what_no_option_takes_is_named_with_its_place(args: str) -> None:
    with pytest.raises(UsageError) as caught:
        gives(args)
    assert caught.value.message.startswith(f"{PATH}:4: ")
    assert WRONG[args] in caught.value.message.replace("\\x1b", "\\e")
    assert caught.value.message.isprintable()


def test_a_near_option_is_offered() -> None:
    with pytest.raises(UsageError) as caught:
        gives("{colectors: skb}")
    assert caught.value.hint == "did you mean collectors?"


def merged(*layers: Given) -> argparse.Namespace:
    return COLLECT.namespace(COLLECT.merged(layers))


def test_lists_add_up_and_of_single_values_the_last_counts() -> None:
    one = gives("{probe: [a, b], snaplen: 64, collectors: skb, stack: ~, filter_meta: sk_buff.len}")
    two = gives("{probe: [b, c], snaplen: 128, collectors: dev, cmd: x}")
    line = COLLECT.given(["-p", "d", "-p", "a", "--cmd", "y", "-c", "ns"])
    args = merged(one, two, line)
    assert args.probe == ["a", "b", "c", "d"]
    assert args.collectors == ["skb", "dev", "ns"]
    assert (args.snaplen, args.cmd, args.stack, args.filter_meta) == (128, "y", True, "sk_buff.len")
    assert merged(two, one).snaplen == 64


def test_the_command_line_wins_though_options_are_given_once() -> None:
    args = merged(gives("{filter_packet: tcp}"), COLLECT.given(["-f", "udp"]))
    assert args.filter_packet == "udp"
    with pytest.raises(UsageError, match="given twice"):
        COLLECT.given(["-f", "udp", "-f", "tcp"])


def test_a_flag_can_be_taken_back_by_a_later_profile() -> None:
    on, off = gives("{stack: ~}"), gives("{stack: false}")
    assert (merged(on, off).stack, merged(off, on).stack) == (False, True)
    assert merged(off, COLLECT.given(["--stack"])).stack is True


def test_options_that_stand_for_the_same_take_each_others_place() -> None:
    text, file = gives("{filter_packet: tcp}"), COLLECT.given(["-F", "x"])
    args = merged(text, file)
    assert (args.filter_packet, args.filter_file) == (None, "x")
    assert merged(file, text).filter_file is None
    both = merged(COLLECT.given(["-f", "tcp", "-F", "x"]))
    assert (both.filter_packet, both.filter_file) == ("tcp", "x")  # a mistake that the command speaks of
    assert COLLECT.effective([text], file) == {}


def test_what_profiles_add_can_be_written_as_words() -> None:
    one = gives("{probe: [a, -b], stack: ~, snaplen: 64, out: ~, e: ~, filter_packet: ''}")
    words = COLLECT.words(one)
    assert COLLECT.given(words) == one
    line = COLLECT.given(["--snaplen", "1", "-p", "c", "-o", "x"])
    left = COLLECT.effective([one], line)
    assert left.keys() == one.keys() - {"snaplen", "out"}
    assert COLLECT.merged([COLLECT.given(COLLECT.words(left)), line]) == COLLECT.merged([one, line])


def test_arguments_that_are_no_options_stay_those_of_the_line() -> None:
    line = PCAP.given(["a.arrow", "b.arrow", "-o", "x"])
    profile = PCAP.of_variant(with_args("{probe: tp:skb:kfree_skb}", "pcap").variant("pcap", MadeMachine()))
    args = PCAP.namespace(PCAP.merged([profile, line]))
    assert (args.input, args.out, args.probe) == (["a.arrow", "b.arrow"], "x", ["tp:skb:kfree_skb"])
    assert PCAP.not_options(line) == ["input"]
    assert PCAP.namespace(PCAP.given([])) == parser_of("pcap").parse_args([])
