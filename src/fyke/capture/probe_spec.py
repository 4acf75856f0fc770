"""The `-p` syntax: `[TYPE:]TARGET[/OPTION,...]`, and of user programs `TYPE:PATH:NAME`.

A path has slashes, and may have colons: it ends at the last colon (of USDT probes at the last but one), and
options stand behind the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from fyke.errors import UsageError

# every spelling -> the type
TYPES = {
    "k": "kprobe",
    "kprobe": "kprobe",
    "kr": "kretprobe",
    "kretprobe": "kretprobe",
    "tp": "raw_tracepoint",
    "raw_tracepoint": "raw_tracepoint",
    "fe": "fentry",
    "fentry": "fentry",
    "fx": "fexit",
    "fexit": "fexit",
    "u": "uprobe",
    "uprobe": "uprobe",
    "usdt": "usdt",
    "xdp": "xdp",
    "tc": "tc",
    "func": "func",
}
# in user programs: type -> (how many names follow the path, how it is written)
USER_TYPES = {"uprobe": (1, "u:PATH:SYMBOL"), "usdt": (2, "usdt:PATH:PROVIDER:NAME")}
PROGRAM_TYPES = ("xdp", "tc")  # at BPF programs
OPTIONS = ("stack",)

_HINT = "write [TYPE:]TARGET[/stack], e.g. kprobe:ip_rcv, tp:net:netif_rx/stack, ip_rcv or skb:kfree_skb"


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe as it was asked for. `target` may hold `*`; a tracepoint's is `subsystem:name`.

    path: of a user program's, its file, or a name without folders; the target then is a symbol, or
    `provider:name`.
    """

    text: str
    type: str
    target: str
    stack: bool = False
    path: str = ""

    @property
    def is_pattern(self) -> bool:
        """Whether the target names many."""
        return "*" in self.target


def parse_probe(text: str) -> ProbeSpec:
    """Parse one `-p` value. Raises UsageError."""
    kind = TYPES.get(text.partition(":")[0], "")
    if kind in USER_TYPES and ":" in text:
        return _parse_user(text, kind)
    target, *options = text.split("/")
    kind, target = _split_type(target, text)
    names = _options(options, text)
    _check_target(kind, target, text)
    return ProbeSpec(text, kind, target, "stack" in names)


def _parse_user(text: str, kind: str) -> ProbeSpec:
    count, form = USER_TYPES[kind]
    path, *parts = text.partition(":")[2].rsplit(":", count)
    last, *options = parts[-1].split("/") if parts else ("",)
    names = [*parts[:-1], last]
    if not path or len(names) != count or not all(name and _is_plain(name) for name in names):
        raise UsageError(f"{text!r} doesn't say what to probe of which program", f"write {form}")
    if "stack" in _options(options, text):
        raise UsageError(
            f"{text!r}: stacks of user programs can't be taken", "leave out /stack; kernel probes have it"
        )
    return ProbeSpec(text, kind, ":".join(names), path=path)


def _is_plain(name: str) -> bool:
    return name.isprintable() and not any(ch.isspace() for ch in name)


def _options(parts: list[str], text: str) -> list[str]:
    names = [name for part in parts for name in part.split(",")]
    for name in names:
        if name not in OPTIONS:
            what = f"unknown probe option {name!r}" if name else "empty probe option"
            raise UsageError(f"{what} in {text!r}", f"options: {', '.join(OPTIONS)}")
    if len(set(names)) != len(names):
        raise UsageError(f"a probe option is given twice in {text!r}", _HINT)
    return names


def _split_type(target: str, text: str) -> tuple[str, str]:
    head, colon, rest = target.partition(":")
    if colon and head in TYPES:
        return TYPES[head], rest
    if target.count(":") == 1:
        return "raw_tracepoint", target
    if colon:
        raise UsageError(f"unknown probe type {head!r} in {text!r}", f"types: {', '.join(TYPES)}")
    return "func", target


def _check_target(kind: str, target: str, text: str) -> None:
    if not target:
        raise UsageError(f"probe {text!r} names no target", _HINT)
    allowed = set("_*.$")
    if kind in PROGRAM_TYPES:
        _check_program(target, text)
        return
    parts = target.split(":")
    well_formed = all(part and all(ch.isalnum() or ch in allowed for ch in part) for part in parts)
    if kind == "raw_tracepoint" and (len(parts) != 2 or not well_formed):
        raise UsageError(
            f"{target!r} in {text!r} is no tracepoint", "write subsystem:name, e.g. tp:skb:kfree_skb"
        )
    if kind != "raw_tracepoint" and (len(parts) != 1 or not well_formed):
        raise UsageError(f"{target!r} in {text!r} is no function name", _HINT)


def _check_program(target: str, text: str) -> None:
    kind, colon, number = target.partition(":")
    if colon and not (kind == "id" and number.isascii() and number.isdigit() and len(number) < 11):
        raise UsageError(
            f"{target!r} in {text!r} is no BPF program",
            "write its name (`*` is any text) or id:N, as `bpftool prog` has them",
        )
    if not target.isprintable():
        raise UsageError(f"{target!r} in {text!r} is no name of a BPF program")
