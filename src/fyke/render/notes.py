"""Text of what is no event: the facts a recording starts with, and notes of lost events."""

from __future__ import annotations

from typing import Any

from fyke.collectors.formatting import Style, shown
from fyke.events.facts import CAPTURED_WITH, Facts
from fyke.render.head import PROBE_LETTERS
from fyke.render.times import time_text

# gap.cause -> (what the count counts and what became of it, why)
_CAUSES = {
    "ring_full": ("{n} event{s} lost", "ring full"),
    "recursion": ("{n} event{s} lost", "the probe was hit while it ran"),
    "missed_return": ("{n} event{s} lost", "too many calls at once to see them return"),
    "tracking_full": ("{n} packet{s} not tracked", "tracking map full"),
    "stack_full": ("{n} stack trace{s} not kept", "stack map full"),
}


def startup_text(facts: Facts, style: Style) -> str:
    """Return who recorded, where, which of the files this is, and the command line."""
    lines = [
        f"{time_text(facts.timestamp_ns, style)}{style.separator}{_recorder(facts)}",
        " ".join(
            ("on machine", *map(shown, (facts.kernel_release, facts.kernel_version, facts.hardware_name)))
        ),
    ]
    if facts.split_id is not None:
        lines.append(f"file id {facts.split_id}")
    lines.append(f"cmdline {shown(facts.cmdline)}")
    return style.separator.join(lines)


def _recorder(facts: Facts) -> str:
    if program := facts.extra.get(CAPTURED_WITH):
        return f"captured with {shown(str(program))}"
    retis = facts.extra.get("retis_version")
    return (
        f"collected with Retis {shown(str(retis))}"
        if retis
        else f"collected with fyke {shown(facts.version)}"
    )


def gap_text(
    style: Style, timestamp_ns: int, cpu: int | None, kernel: dict[str, Any] | None, gap: dict[str, Any]
) -> str:
    """Return the note of a gap: how many of what were lost, where, in which interval, and why."""
    count = gap["count"] or 0
    what, why = _CAUSES.get(gap["cause"] or "", ("{n} event{s} lost", shown(gap["cause"], "cause unknown")))
    text = "-- " + what.format(n=count, s="" if count == 1 else "s")
    if cpu is not None:
        text += f" on cpu {cpu}"
    if kernel and kernel["symbol"] is not None:
        letters = PROBE_LETTERS.get(kernel["probe_type"] or "", "invalid")
        text += f" at {letters} {shown(kernel['symbol'])}"
    end = time_text(timestamp_ns, style)
    if gap["since_ns"] is not None:
        text += f" between {time_text(gap['since_ns'], style)} and {end}"
    else:
        text += f" before {end}"
    return style.paint(f"{text} ({why})", "loss")


def loss_text(style: Style, lost: int) -> str:
    """Return the warning above a journey that may not be whole."""
    what = "1 event was" if lost == 1 else f"{lost} events were"
    return style.paint(
        f"-- {what} lost on this packet's CPUs while it was seen: some of its own may be missing", "loss"
    )
