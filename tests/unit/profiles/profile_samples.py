"""Profiles for tests, and a machine that is as asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from fyke.profiles.conditions import KernelVersion
from fyke.profiles.document import documents
from fyke.profiles.model import Profile, read_profile

PATH = "some/where.yaml"


@dataclass
class MadeMachine:
    """Has a version and symbols that can be probed."""

    release: str = "6.2.14-300.fc38.x86_64"
    symbols: frozenset[str] = frozenset({"consume_skb", "skb:kfree_skb"})
    asked: list[str] = field(default_factory=list)

    @property
    def version(self) -> KernelVersion:
        return KernelVersion.parse(self.release)

    def why_no_symbol(self, name: str) -> str | None:
        self.asked.append(name)
        return None if name in self.symbols else f"{name} is nowhere"


def profile(text: str) -> Profile:
    (document,) = documents(text.encode(), PATH)
    return read_profile(document)


def with_args(args: str, command: str = "collect") -> Profile:
    """Return a profile with one variant; args: YAML in flow style."""
    return profile(f"version: 1.0\nname: test\n{command}:\n  - args: {args}\n")
