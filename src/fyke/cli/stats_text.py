"""What `fyke stats` shows: lines as Retis has them, and more under them; or the same as one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from fyke.collectors.formatting import Style, shown
from fyke.events.closing import closing_probes
from fyke.events.escape import printable
from fyke.journeys.stats import NO_EVENTS, FileStats, Stats
from fyke.render.times import time_text

Rows = list[dict[str, Any]]
WIDTH = 60  # columns of a sparkline
_BLOCKS = " ▁▂▃▄▅▆▇█"
_MOST_LINES = 10  # of probes with a sparkline, and of other lists
_SECOND = 1_000_000_000  # in ns


def stats_text(stats: Stats, asked: dict[str, Rows]) -> str:
    """Return the text; parts that were not asked for are not in it."""
    lines: list[str] = []
    if "summary" in stats.parts:
        for file in stats.files:
            lines += _file(file)
        lines += _added(stats)
        if len(stats.parts) > 1:
            lines.append("")
    for part, text in (
        ("loss", _loss(stats)),
        ("tracking", _tracking(stats)),
        ("drops", _counts("Drop reasons:", stats.drops)),
        ("rate", _rate(stats)),
        ("flows", _flows(asked.get("flows", []))),
        ("paths", _paths(asked)),
        ("hops", _hops(asked.get("hops", []))),
    ):
        if part in stats.parts:
            lines += text
    return "".join(f"{line}\n" for line in lines)


def _file(file: FileStats) -> Iterator[str]:
    facts = file.facts
    if not facts.split_id:
        retis = facts.extra.get("retis_version")
        yield f"Retis version: {shown(str(retis))}" if retis else f"fyke version: {shown(facts.version)}"
        yield f"{'Retis' if retis else 'fyke'} cmdline: {shown(facts.cmdline)}"
    if facts.split_id is not None:
        yield ""
        yield f"Split index: {facts.split_id}"
    if facts.order == "journey":
        yield f"Number of series: {file.series}"
    yield f"Number of events: {file.events}"
    if file.first_ns is not None and file.last_ns is not None:
        yield f"First event at: {_date(file.first_ns, file)}"
        yield f"Last event at: {_date(file.last_ns, file)}"
    yield "Probes:"
    yield from _lines(file.probes)


def _added(stats: Stats) -> Iterator[str]:
    """Tell which of the probes were added, in order, and when: seconds since the collection began."""
    added = _added_probes(stats)
    if added:
        yield "Probes added as they were found:"
    for name, time_ns in added:
        yield f"  {printable(name)}: after {_duration(max(time_ns - stats.files[0].facts.timestamp_ns, 0))}"


def _added_probes(stats: Stats) -> list[tuple[str, int]]:
    told = closing_probes(stats.closing or {})
    times = [(f"{p.get('probe_type', '?')}/{p.get('symbol', '?')}", p.get("added_ns")) for p in told]
    return [(name, time_ns) for name, time_ns in times if type(time_ns) is int]


def _date(time_ns: int, file: FileStats) -> str:
    return time_text(time_ns, Style(utc_offset_ns=file.facts.clock_monotonic_offset_ns))


def _counts(title: str, counts: Counter[str]) -> Iterator[str]:
    if counts:
        yield title
        yield from _lines(counts)


def _lines(counts: Counter[str]) -> Iterator[str]:
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {printable(name)}: {count}"


def _loss(stats: Stats) -> Iterator[str]:
    closing = stats.closing
    events = Counter({k: n for k, n in stats.lost.items() if k[0] not in NO_EVENTS})
    total = events.total() if closing is None or closing["lost"] is None else closing["lost"]
    if closing is None and not stats.lost:
        return
    yield f"Lost events: {total}"
    for (cause, cpu, probe), count in sorted(stats.lost.items(), key=lambda item: (-item[1], str(item[0]))):
        where = "" if cpu is None else f" on cpu {cpu}"
        at = "" if probe is None else f" at {printable(probe)}"
        yield f"  {printable(cause)}{where}{at}: {count}"
    if closing is not None and not events:
        for told in closing_probes(closing):
            if told.get("lost"):
                name = f"{told.get('probe_type', '?')}/{told.get('symbol', '?')}"
                yield f"  at {printable(name)}: {printable(str(told['lost']))}"


def _tracking(stats: Stats) -> Iterator[str]:
    yield f"Tracked events: {stats.tracked}"
    yield f"Untracked events: {stats.untracked}"
    if stats.ambiguous:
        yield f"Events with an ambiguous stitch: {stats.ambiguous}"


def _rate(stats: Stats) -> Iterator[str]:
    if not stats.events:
        return
    width_ns, columns = stats.rates.columns(WIDTH)
    total = columns.sum(axis=0)
    seconds = width_ns / _SECOND
    mean, peak = total.sum() / (seconds * WIDTH), total.max() / seconds
    yield f"Events per second: {mean:,.0f} on average, {peak:,.0f} at most ({_duration(width_ns)} a column)"
    names = sorted(stats.probe_numbers, key=lambda n: (-_all(stats)[n], n))
    shown_names = [n for n in names if stats.probe_numbers[n] < len(columns) - 1][:_MOST_LINES]
    wide = max(len(printable(name)) for name in ["all", *shown_names])
    yield f"  {'all':{wide}} |{sparkline(total)}| {total.max() / seconds:,.0f}/s"
    for name in shown_names:
        row = columns[stats.probe_numbers[name]]
        yield f"  {printable(name):{wide}} |{sparkline(row)}| {row.max() / seconds:,.0f}/s"


def sparkline(counts: Any) -> str:
    """Return counts as block characters; the largest is a full one, and what isn't 0 is never blank."""
    most = int(counts.max())
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[-(-int(n) * steps // most)] if n else " " for n in counts)


def _all(stats: Stats) -> Counter[str]:
    return sum((file.probes for file in stats.files), Counter())


def _duration(time_ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if time_ns >= size:
            return f"{time_ns / size:.3g} {unit}"
    return f"{time_ns:.0f} ns"


def _flows(flows: Rows) -> Iterator[str]:
    if flows:
        yield "Top flows:"
    for flow in flows:
        ends = (
            _end(flow["source"], flow["source_port"]),
            _end(flow["destination"], flow["destination_port"]),
        )
        drops = f", {_some(flow['drops'], 'drop')}" if flow["drops"] else ""
        yield (
            f"  {flow['proto']} {ends[0]} > {ends[1]}: {_some(flow['packets'], 'packet')} "
            f"({flow['packets_back']} back), {flow['bytes']} bytes{drops}"
        )


def _some(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _end(address: str, port: int | None) -> str:
    return address if port is None else f"{address}.{port}"


def _paths(asked: dict[str, Rows]) -> Iterator[str]:
    for counts in asked.get("journeys", []):
        lost = counts["maybe_incomplete"]
        yield (
            f"Journeys: {counts['tracked']}, {counts['dropped']} of them dropped"
            f"{f', {lost} of them may not be whole' if lost else ''}"
        )
    if asked.get("paths"):
        yield "Journeys by path:"
    for path in asked.get("paths", []):
        dropped = f", {path['dropped']} dropped" if path["dropped"] else ""
        yield (
            f"  {path['journeys']} in {_duration(path['mean_duration_ns'])} on average{dropped}: "
            f"{printable(path['path'])}"
        )


def _hops(hops: Rows) -> Iterator[str]:
    if hops:
        yield "Time per hop (p50, p99):"
    for hop in hops:
        names = (printable(hop[end] or "?") for end in ("from_symbol", "to_symbol"))
        times = ", ".join(_duration(hop[p] or 0) for p in ("p50_ns", "p99_ns"))
        yield f"  {' > '.join(names)}: {times} ({hop['hops']} times)"


def stats_object(stats: Stats, asked: dict[str, Rows]) -> dict[str, Any]:
    """Return the parts that were asked for as what JSON can hold. Times in ns, by their names."""
    result: dict[str, Any] = {}
    if "summary" in stats.parts:
        result["events"] = stats.events
        result["files"] = [_file_object(file) for file in stats.files]
        result["added_probes"] = [{"probe": name, "added_ns": ns} for name, ns in _added_probes(stats)]
    if "loss" in stats.parts:
        result["loss"] = _loss_object(stats)
    if "tracking" in stats.parts:
        result["tracking"] = {
            "tracked": stats.tracked,
            "untracked": stats.untracked,
            "ambiguous": stats.ambiguous,
        }
    if "drops" in stats.parts:
        result["drops"] = dict(stats.drops.most_common())
    if "rate" in stats.parts:
        width_ns, columns = stats.rates.columns(WIDTH)
        probes = {n: columns[i].tolist() for n, i in stats.probe_numbers.items() if i < len(columns) - 1}
        result["rate"] = {
            "column_ns": width_ns,
            "events": columns.sum(axis=0).tolist(),
            "probes": probes,
        }
    return {**result, **asked}


def _file_object(file: FileStats) -> dict[str, Any]:
    facts = file.facts
    return {
        "path": file.path,
        "version": facts.version,
        "retis_version": facts.extra.get("retis_version"),
        "cmdline": facts.cmdline,
        "split_index": facts.split_id,
        "order": facts.order,
        "series": file.series if facts.order == "journey" else None,
        "events": file.events,
        "first_ns": file.first_ns,
        "last_ns": file.last_ns,
        "clock_monotonic_offset_ns": facts.clock_monotonic_offset_ns,
        "probes": dict(file.probes.most_common()),
    }


def _loss_object(stats: Stats) -> dict[str, Any]:
    closing = stats.closing
    return {
        "events": None if closing is None else closing["lost"],
        "reason": None if closing is None else closing["reason"],
        "gaps": [
            {"cause": cause, "cpu": cpu, "probe": probe, "count": count}
            for (cause, cpu, probe), count in stats.lost.items()
        ],
        "probes": [] if closing is None else closing_probes(closing),
    }
