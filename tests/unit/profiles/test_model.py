"""Profiles as Retis reads them, and errors that name file, line and key."""

from __future__ import annotations

import pytest
from profile_samples import PATH, MadeMachine, profile

from fyke.errors import Unsupported, UsageError

EXAMPLE = """\
version: 1.0
name: example-profile
about: Collects something
collect:
  - name: New, and a symbol
    when:
      - type: version
        version: ">6.1.2"
      - type: symbol
        name: some_function
    args:
      collectors: skb
      ovs-track: ~
  - name: Without a symbol
    when:
      - type: symbol
        name: skb:other
        exists: false
      - {type: version, version: ">=3.5.5, <7"}
    args:
      collectors: skb
      probe: [a, "b"]
  - args:
pcap:
"""


def test_a_profile_of_retis() -> None:
    read = profile(EXAMPLE)
    assert (read.name, read.about, str(read.place), read.odd) == (
        "example-profile",
        "Collects something",
        f"{PATH}:1",
        (),
    )
    first, second, last = read.variants["collect"]
    assert [(a.key, a.value) for a in first.args] == [("collectors", "skb"), ("ovs-track", None)]
    assert [(a.key, a.value) for a in second.args] == [("collectors", "skb"), ("probe", ("a", "b"))]
    assert [a.place.line for a in second.args] == [21, 22]
    assert (last.name, last.when, last.args) == ("Default", (), ())
    assert read.variants["pcap"] == ()


@pytest.mark.parametrize(
    ("release", "symbols", "chosen"),
    [
        ("6.2.14", {"some_function"}, "New, and a symbol"),
        ("6.2.14", set(), "Without a symbol"),
        ("6.1.2", {"some_function"}, "Without a symbol"),
        ("6.1.2", {"skb:other"}, "Default"),
        ("7.0.0", {"skb:other"}, "Default"),
    ],
)
def test_the_first_variant_whose_conditions_hold_is_used(
    release: str, symbols: set[str], chosen: str
) -> None:
    machine = MadeMachine(release, frozenset(symbols))
    assert profile(EXAMPLE).variant("collect", machine).name == chosen


def test_the_kernel_is_asked_only_as_far_as_needed() -> None:
    machine = MadeMachine("6.1.2")
    profile(EXAMPLE).variant("collect", machine)
    assert machine.asked == ["skb:other"]


def test_nothing_for_this_machine_is_an_error() -> None:
    text = EXAMPLE.replace("  - args:\npcap:\n", "")
    with pytest.raises(Unsupported) as caught:
        profile(text).variant("collect", MadeMachine("6.1.2", frozenset({"skb:other"})))
    assert caught.value.message == (
        "the profile example-profile has nothing for this machine: "
        "New, and a symbol: the kernel 6.1.2 is not >6.1.2; Without a symbol: skb:other can be probed"
    )


def test_nothing_for_a_command_is_an_error() -> None:
    with pytest.raises(UsageError, match="has nothing for fyke pcap") as caught:
        profile(EXAMPLE).variant("pcap", MadeMachine())
    assert caught.value.hint == "it is for fyke collect"


HEAD = "version: 1.0\nname: x\n"
VARIANT = HEAD + "collect:\n  - args: {}\n"
# Text -> the message, after the file's name.
WRONG = {
    "name: x\n": "1: version: it is missing",
    "version: 1.0\n": "1: name: it is missing",
    "version: 1\nname: x\n": "1: version: '1' is not like 1.0",
    "version: 1.0.0\nname: x\n": "1: version: '1.0.0' is not like 1.0",
    "version: ['1.0']\nname: x\n": "1: version: a list is no text",
    "version: 1.²\nname: x\n": "1: version: '1.²' is not like 1.0",
    "version: 2.0\nname: x\n": "1: version: 2.0 is another format of profiles than 1.0, the one known here",
    "version: 0.9\nname: x\n": "1: version: 0.9 is another format",
    "version: 1.0\nname:\n": "2: name: nothing is no text",
    "version: 1.0\nname: ' '\n": "2: name: it is empty",
    "- a\n": "1: a list is no mapping, as a profile is",
    "just text": "1: 'just text' is no mapping",
    HEAD + "about: [x]\n": "3: about: a list is no text",
    HEAD + "collect: {args: {}}\n": "3: collect: a mapping is no list",
    HEAD + "collect:\n  - name: y\n": "4: args: it is missing",
    HEAD + "collect:\n  - name:\n    args:\n": "4: name: nothing is no text",
    HEAD + "collect:\n  - args: [a]\n": "4: args: a list is no mapping of options to values",
    HEAD + "collect:\n  - args: {probe: {a: b}}\n": "4: probe: a mapping is no value of an option",
    HEAD + "collect:\n  - args:\n      probe:\n        - a\n        - [b]\n": "7: probe: a list is no value",
    HEAD + "collect:\n  - args:\n      probe:\n        - a\n        -\n": "7: probe: nothing is no value",
    VARIANT + "    when: x\n": "5: when: 'x' is no list",
    VARIANT + "    when: [x]\n": "5: when: 'x' is no condition",
    VARIANT + "    when:\n      - {name: x}\n": "6: type: it is missing",
    VARIANT + "    when:\n      - {type: phase, name: x}\n": "6: type: there is no condition 'phase'",
    VARIANT + "    when:\n      - {type: symbol}\n": "6: name: it is missing",
    VARIANT + "    when:\n      - {type: symbol, name: x, exists: maybe}\n": "6: exists: 'maybe' is neither",
    VARIANT
    + "    when:\n      - {type: version, version: six}\n": "6: version: 'six' compares with no version",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[-30:])
def test_errors_name_file_line_and_key(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        profile(text)
    assert caught.value.message.startswith(f"{PATH}:{WRONG[text]}")
    assert caught.value.exit_code == 2


def test_what_has_no_meaning_is_told() -> None:
    odd = profile(
        "version: 1.3\nname: x\nabuot: y\ncollect:\n"
        "  - nmae: z\n    args:\n    when: [{type: symbol, name: a, exist: true}]\n"
    ).odd
    assert [text.removeprefix(f"{PATH}:") for text in odd] == [
        "3: abuot: a profile has no such key, it has no effect; did you mean about?",
        "1: version: 1.3 is newer than 1.0: some of it may have no effect",
        "5: nmae: a variant has no such key, it has no effect; did you mean name?",
        "7: exist: a condition has no such key, it has no effect; did you mean exists?",
    ]


def test_names_from_a_file_are_harmless_on_a_terminal() -> None:
    variant = '{name: "v\\n", when: [{type: symbol, name: "\\e[2J"}], args: {}}'
    text = f'version: 1.0\nname: "a\\eb"\ncollect: [{variant}]\n'
    with pytest.raises(Unsupported) as caught:
        profile(text).variant("collect", MadeMachine())
    assert caught.value.message.isprintable()
    assert caught.value.hint.isprintable()
