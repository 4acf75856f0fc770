"""Probes in user programs: functions and USDT probes, held against what the programs say they did."""

from __future__ import annotations

from pathlib import Path

import pytest

from fyke.capture.filters import FilterOptions
from fyke.capture.load import Loaded
from fyke.errors import UsageError
from live.jited import has_private_stack
from live.programs import Did, compiled, running
from live.recording import Recording, Row, kernel, plan, record

pytestmark = [pytest.mark.needs("uprobe"), pytest.mark.ends_only]
TIMES = 5


def _of(recording: Recording, symbol: str, pid: int) -> list[Row]:
    rows = [row for row in recording.rows if row["userspace"] and row["userspace"]["symbol"] == symbol]
    return [row for row in rows if row["task"]["tgid"] == pid]


@pytest.mark.parametrize("flags", [("-pie", "-DLISTENED"), ("-no-pie",)], ids=["pie", "fixed"])
def test_a_program_and_its_library(flags: tuple[str, ...], tmp_path: Path) -> None:
    """Each call is an event, with all that the probe is given; a semaphore is raised as long as we listen."""
    path = compiled(tmp_path, *flags)
    probes = (f"usdt:{path}:trial:work", f"u:{path}:work", "u:libc.so.6:getppid")
    with running(str(path)) as trial:
        assert not trial.work(1).listened
        done: list[Did] = []
        recording = record(lambda: done.append(trial.work(TIMES)), collectors=("dev",), probes=probes)
        (did,) = done
        assert did.listened == ("-DLISTENED" in flags)
        assert not trial.work(0).listened
    work = _of(recording, "trial:work", did.pid)
    assert [[int(value, 0) for value in row["arguments"]["values"]] for row in work] == [
        [n, -300, -3, 4_000_000_000, -1 << 40, 71 + n, did.text, -5, (1, 3, 3, 4)[n % 4]]
        for n in range(TIMES)
    ]
    assert {row["userspace"]["path"] for row in work} == {str(path)}
    functions = _of(recording, "work", did.pid)
    assert len(functions) == TIMES
    assert all(row["arguments"] is None for row in functions)
    (library,) = _of(recording, "getppid", did.pid)
    assert library["userspace"]["path"].endswith("/libc.so.6")
    times = [row["timestamp_ns"] for pair in zip(functions, work, strict=True) for row in pair]
    assert times == sorted(times)
    assert library["timestamp_ns"] > times[-1]


def test_a_program_is_left_on_the_stack_of_its_task() -> None:
    """Tasks are preempted at uprobes: on a stack of the CPU's one would go on with another's values."""
    loaded = Loaded(plan(collectors=("dev",), probes=("u:libc.so.6:getppid",)), kernel())
    try:
        assert not has_private_stack(loaded.program_fd(0))
    finally:
        loaded.close()


@pytest.mark.host_only
def test_one_process_of_several(tmp_path: Path) -> None:
    """--pid goes for them, too: other processes are left alone, and have no breakpoint."""
    path = compiled(tmp_path, "-DLISTENED")
    with running(str(path)) as wanted, running(str(path)) as other:
        pid = wanted.work(0).pid

        def both() -> None:
            assert wanted.work(TIMES).listened
            assert not other.work(TIMES).listened

        probes = (f"usdt:{path}:trial:work",)
        recording = record(both, collectors=("dev",), probes=probes, filters=FilterOptions(pid=pid))
    assert recording.hits["trial:work"] == TIMES
    assert {row["userspace"]["pid"] for row in recording.rows} == {pid}


@pytest.mark.host_only
def test_a_program_in_another_mount_namespace_is_found_by_name(tmp_path: Path) -> None:
    path = compiled(tmp_path)
    with pytest.raises(UsageError, match="there is no program fyke-trial: "):
        plan(collectors=("dev",), probes=("u:fyke-trial:work",))
    there = tmp_path / "fyke-trial"
    script = (
        f"mount -t tmpfs none {tmp_path} && cp /proc/self/fd/9 {there} && chmod +x {there} && exec {there}"
    )
    with running("unshare", "--mount", "sh", "-c", f"exec 9<{path}; {script}") as trial:
        recording = record(
            lambda: trial.work(TIMES), collectors=("dev",), probes=("usdt:fyke-trial:trial:*",)
        )
    assert recording.hits == {"trial:work": TIMES}
    assert not there.exists()
