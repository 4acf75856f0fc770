"""What the running kernel can do, compared with what it shows elsewhere; asking leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fyke.cli.main import main
from fyke.kernel.features import FEATURES, Features
from fyke.kernel.pseudofs import open_detached
from fyke.kernel.tracepoints import is_mounted, mounted_tracefs
from fyke.kernel.view import LiveKernel

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
BPFTOOL = shutil.which("bpftool", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@pytest.fixture(scope="module")
def features() -> Features:
    return Features()


def test_root_gets_an_answer_to_everything(features: Features) -> None:
    unknown = {f.name: features[f.name].why for f in FEATURES if features[f.name].state == "unknown"}
    unknown.pop("module_btf", None)  # can't be told while no module is loaded
    assert unknown == {}


def test_kprobes_are_there_when_the_kernel_has_their_device(features: Features) -> None:
    assert features.has("kprobe") == Path("/sys/bus/event_source/devices/kprobe").exists()


def test_a_collection_is_possible_here(features: Features) -> None:
    for feature in FEATURES:
        if feature.needed:
            assert features.has(feature.name), features.why_not(feature.name)


def test_cookies_of_raw_tracepoints_work_where_the_feature_says_so(features: Features) -> None:
    from fyke.kernel import syscall_bpf as bpf

    prog = bpf.prog_load(bpf.PROG_TYPE_RAW_TRACEPOINT, bpf.RETURN_0)
    try:
        link = bpf.raw_tracepoint_open(prog, "kfree_skb", cookie=7)
        os.close(link)
        attached = True
    except OSError:
        attached = False
    finally:
        os.close(prog)
    assert features.has("raw_tracepoint_cookie") == attached


def _descriptors() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}


def _is_open(fd: str) -> bool:
    return Path(f"/proc/self/fd/{fd}").is_symlink()


def test_asking_leaves_nothing_behind() -> None:
    mounts, before = Path("/proc/self/mounts").read_text(), _descriptors()
    for feature in FEATURES:
        Features()[feature.name]
    LiveKernel().match_tracepoints("skb:*")
    assert _descriptors() - before == set()
    assert Path("/proc/self/mounts").read_text() == mounts
    if BPFTOOL:
        shown = subprocess.run([BPFTOOL, "-j", "prog", "list"], check=True, capture_output=True).stdout
        assert [prog for prog in json.loads(shown) if prog.get("name") == "fyke"] == []


def test_tracefs_is_read_without_mounting_it() -> None:
    mounted = is_mounted()
    root = open_detached("tracefs")
    try:
        assert "available_events" in os.listdir(root)
    finally:
        os.close(root)
    assert is_mounted() == mounted
    assert "skb:kfree_skb" in LiveKernel().match_tracepoints("skb:*")


needs_unmounted = pytest.mark.skipif(is_mounted(), reason="tracefs is mounted on this machine already")


@needs_unmounted
def test_a_mount_of_tracefs_is_undone() -> None:
    with mounted_tracefs() as where:
        assert (where / "available_events").exists()
        with mounted_tracefs() as again:
            assert again == where
        assert is_mounted()
    assert not is_mounted()


@needs_unmounted
def test_a_mount_of_tracefs_is_undone_after_kill_9() -> None:
    code = (
        "import sys\nfrom fyke.kernel.tracepoints import mounted_tracefs\n"
        "with mounted_tracefs():\n    print('mounted', flush=True)\n    sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"mounted\n"
        assert is_mounted()
        child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while is_mounted() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_mounted()


def test_doctor_agrees(features: Features, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = {f["name"]: f["state"] for f in json.loads(capsys.readouterr().out)["features"]}
    assert found == {name: features[name].state for name in found}
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for feature in FEATURES:
        if features[feature.name].state == "no" and feature.name in found:
            assert feature.title in text.split("This is missing:")[1]


def test_doctor_serves_an_ordinary_user() -> None:
    python = "/usr/bin/python3"  # one that every user may run
    source = Path(sys.modules["fyke"].__file__ or "").parents[1]
    code = "import sys; from fyke.cli.main import main; sys.exit(main(['doctor']))"
    environment = {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin"}
    done = subprocess.run(
        [python, "-c", code],
        user=65534,
        group=65534,
        extra_groups=[],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "this user may not load BPF programs" in done.stdout
    assert "run as root" in done.stdout
    assert done.stderr == ""
