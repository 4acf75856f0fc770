"""The `-p` syntax: `[TYPE:]TARGET[/OPTION,...]`."""

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
    "func": "func",
}
SUPPORTED = ("kprobe", "kretprobe", "fentry", "fexit", "raw_tracepoint", "func")
OPTIONS = ("stack",)

_HINT = "write [TYPE:]TARGET[/stack], e.g. kprobe:ip_rcv, tp:net:netif_rx/stack, ip_rcv or skb:kfree_skb"


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe as it was asked for. `target` may hold `*`; a tracepoint's is `subsystem:name`."""

    text: str
    type: str
    target: str
    stack: bool = False

    @property
    def is_pattern(self) -> bool:
        """Whether the target names many."""
        return "*" in self.target


def parse_probe(text: str) -> ProbeSpec:
    """Parse one `-p` value. Raises UsageError."""
    target, *options = text.split("/")
    kind, target = _split_type(target, text)
    names = [name for part in options for name in part.split(",")]
    for name in names:
        if name not in OPTIONS:
            what = f"unknown probe option {name!r}" if name else "empty probe option"
            raise UsageError(f"{what} in {text!r}", f"options: {', '.join(OPTIONS)}")
    if len(set(names)) != len(names):
        raise UsageError(f"a probe option is given twice in {text!r}", _HINT)
    _check_target(kind, target, text)
    return ProbeSpec(text, kind, target, "stack" in names)


def _split_type(target: str, text: str) -> tuple[str, str]:
    head, colon, rest = target.partition(":")
    if colon and head in TYPES:
        kind = TYPES[head]
        if kind not in SUPPORTED:
            raise UsageError(
                f"probe type {kind} in {text!r} is not available yet", f"use one of: {', '.join(SUPPORTED)}"
            )
        return kind, rest
    if target.count(":") == 1:
        return "raw_tracepoint", target
    if colon:
        raise UsageError(f"unknown probe type {head!r} in {text!r}", f"types: {', '.join(TYPES)}")
    return "func", target


def _check_target(kind: str, target: str, text: str) -> None:
    if not target:
        raise UsageError(f"probe {text!r} names no target", _HINT)
    allowed = set("_*.$")
    parts = target.split(":")
    well_formed = all(part and all(ch.isalnum() or ch in allowed for ch in part) for part in parts)
    if kind == "raw_tracepoint" and (len(parts) != 2 or not well_formed):
        raise UsageError(
            f"{target!r} in {text!r} is no tracepoint", "write subsystem:name, e.g. tp:skb:kfree_skb"
        )
    if kind != "raw_tracepoint" and (len(parts) != 1 or not well_formed):
        raise UsageError(f"{target!r} in {text!r} is no function name", _HINT)
