"""Features without a kernel: the system calls are replaced by what some kernel would answer."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from btf_writer import BtfWriter

from fyke.kernel import feature_probes, syscall_bpf
from fyke.kernel.btf import Btf
from fyke.kernel.features import FEATURES, Features


def kernel_types(**functions: bool) -> Callable[[], Btf]:
    w = BtfWriter()
    proto = w.proto(0)
    w.enum("skb_drop_reason", ("SKB_CONSUMED", 1))
    for name in functions:
        w.func(name, proto)
    return lambda: Btf.parse(w.blob())


class Kernel:
    """Answers bpf(2) by command: a descriptor, or the errno it is told to fail with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: dict[int, int] = {}
        self.calls: list[int] = []
        self.open: set[int] = set()
        self._close = os.close
        monkeypatch.setattr(syscall_bpf, "_bpf", self.bpf)
        monkeypatch.setattr(feature_probes.os, "close", self.close)
        monkeypatch.setattr(feature_probes, "lockdown_mode", lambda: "none")

    def bpf(self, command: int, _attr: object) -> int:
        self.calls.append(command)
        if command in self.fails:
            raise OSError(self.fails[command], os.strerror(self.fails[command]))
        fd = 1_000_000 + len(self.calls)
        self.open.add(fd)
        return fd

    def close(self, fd: int) -> None:
        if fd in self.open:
            self.open.remove(fd)
        else:
            self._close(fd)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_what_works_is_yes_and_everything_is_closed_again(kernel: Kernel) -> None:
    features = Features(kernel_types(bpf_fentry_test1=True, bpf_rdonly_cast=True))
    for name in (
        "bpf",
        "ringbuf",
        "raw_tracepoint",
        "kprobe_multi",
        "fentry",
        "bpf_rdonly_cast",
        "read_memory",
    ):
        assert features.has(name), name
    assert kernel.open == set()


@pytest.mark.parametrize(
    ("command", "error", "feature", "state"),
    [
        (syscall_bpf.MAP_CREATE, errno.EINVAL, "ringbuf", "no"),
        # kprobe.multi loads and is refused when it attaches: Debian 6.1.
        (syscall_bpf.LINK_CREATE, errno.EOPNOTSUPP, "kprobe_multi", "no"),
        (syscall_bpf.LINK_CREATE, errno.EINVAL, "kprobe_multi", "no"),
        # The test function is not there, so the rest was accepted.
        (syscall_bpf.LINK_CREATE, errno.ESRCH, "kprobe_multi", "yes"),
        (syscall_bpf.RAW_TRACEPOINT_OPEN, errno.ENOENT, "raw_tracepoint", "yes"),
        (syscall_bpf.RAW_TRACEPOINT_OPEN, errno.ENOENT, "raw_tracepoint_cookie", "yes"),
        (syscall_bpf.RAW_TRACEPOINT_OPEN, errno.EINVAL, "raw_tracepoint_cookie", "no"),
        (syscall_bpf.RAW_TRACEPOINT_OPEN, errno.EPERM, "fentry", "no"),
        (syscall_bpf.RAW_TRACEPOINT_OPEN, 524, "fentry", "no"),
        (syscall_bpf.LINK_CREATE, errno.EBUSY, "kprobe_multi", "unknown"),
        (syscall_bpf.PROG_LOAD, errno.ENOSYS, "bpf", "no"),
        (syscall_bpf.PROG_LOAD, errno.EINVAL, "kprobe_cookie", "no"),
    ],
)
def test_refusals_are_understood(kernel: Kernel, command: int, error: int, feature: str, state: str) -> None:
    kernel.fails[command] = error
    answer = Features(kernel_types(bpf_fentry_test1=True))[feature]
    assert answer.state == state
    assert bool(answer) == (state == "yes")
    assert answer.why or state == "yes"
    assert kernel.open == set()


def test_without_privileges_the_answer_is_unknown_not_no(kernel: Kernel) -> None:
    kernel.fails = dict.fromkeys((0, 5, 15, 17, 28), errno.EPERM)
    features = Features(kernel_types(bpf_fentry_test1=True))
    assert features["bpf"].state == "no"
    for name in ("ringbuf", "raw_tracepoint", "kprobe_multi", "fentry", "recursion_misses"):
        assert features[name].state == "unknown", name


def test_answers_are_kept_unless_unknown(kernel: Kernel) -> None:
    features = Features(kernel_types())
    assert features.has("ringbuf")
    asked = len(kernel.calls)
    assert features.has("ringbuf")
    assert len(kernel.calls) == asked
    kernel.fails[syscall_bpf.LINK_CREATE] = errno.EBUSY
    assert features["kprobe_multi"].state == "unknown"
    del kernel.fails[syscall_bpf.LINK_CREATE]
    assert features["kprobe_multi"].state == "yes"


def test_missing_types_are_told_from_unreadable_ones(kernel: Kernel) -> None:
    def missing() -> Btf:
        raise FileNotFoundError(errno.ENOENT, "No such file", "/sys/kernel/btf/vmlinux")

    def forbidden() -> Btf:
        raise PermissionError(errno.EACCES, "Permission denied", "/sys/kernel/btf/vmlinux")

    def corrupt() -> Btf:
        return Btf.parse(b"\x9f\xeb")

    assert Features(missing)["btf"].state == "no"
    assert Features(missing)["bpf_rdonly_cast"].state == "unknown"
    assert Features(forbidden)["btf"].state == "unknown"
    assert Features(corrupt)["btf"].state == "no"
    assert Features(corrupt)["drop_reasons"].state == "unknown"


def test_a_kernel_without_the_types_lacks_what_they_stand_for(kernel: Kernel) -> None:
    features = Features(kernel_types())
    assert features["bpf_rdonly_cast"].state == "no"
    assert features["drop_reasons"].state == "yes"
    assert features["fentry"].state == "unknown"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("none [integrity] confidentiality\n", "integrity"),
        ("[none] integrity confidentiality\n", "none"),
    ],
)
def test_the_lockdown_mode_is_the_word_in_brackets(
    monkeypatch: pytest.MonkeyPatch, text: str, mode: str
) -> None:
    monkeypatch.setattr(feature_probes, "read_file", lambda _filesystem, _name: text.encode())
    assert feature_probes.lockdown_mode() == mode
    assert Features(kernel_types())["lockdown"].state == ("yes" if mode == "none" else "no")


@pytest.mark.parametrize("kind", ["kprobe", "uprobe"])
def test_a_kernel_without_such_probes_has_no_such_device(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(feature_probes, "_DEVICES", tmp_path / "missing")
    answer = Features(kernel_types())[kind]
    assert answer.state == "no"
    assert f"CONFIG_{kind.upper()}_EVENTS" in Features(kernel_types()).why_not(kind)


def test_every_feature_says_what_is_lost_and_what_to_do() -> None:
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    for feature in FEATURES:
        assert feature.title, feature.name
        assert feature.lost, feature.name
        assert feature.fix, feature.name
        assert not (feature.lost + feature.fix).endswith("."), feature.name
        assert feature.part_of in ("", *names)
    with pytest.raises(KeyError):
        Features()["no_such_feature"]
