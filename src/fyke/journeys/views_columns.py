"""The columns of the views in views.sql: names, types, units, meaning. Writes docs/views.md:
`python -m fyke.journeys.views_columns docs/views.md`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from fyke.events.column import Column
from fyke.events.docs import table_rows
from fyke.events.schema import CLOSING, GAP, JOURNEY, sections


@dataclass(frozen=True, slots=True)
class View:
    """A view: what a row of it is, and its columns in order."""

    name: str
    doc: str
    columns: tuple[Column, ...]


_NOTES = (GAP.name, CLOSING.name, JOURNEY.name)
EVENT_SECTIONS = tuple(section for section in sections() if section.name not in _NOTES)
_JOURNEY = Column("journey", "uint64", "Number of the journey, in order of first sight of its packet")
_INDEX = Column("index", "uint32", "Position of the event in its journey, from 0")
_NUMBER = Column("number", "uint64", "Place among the rows of the recording that are looked at, from 0")
_TIME = Column("timestamp_ns", "uint64", "When the probe was hit, on the kernel's monotonic clock", "ns")
_CPU = Column("cpu", "uint32", "The CPU it ran on")
_PACKET_ID = Column("packet_id", "string", "The packet's id as in the event's text, without `#`")
_PARENT_ID = Column(
    "parent_id", "string", "packet_id of the packet that this one was cut from (GSO) or merged into (GRO)"
)
_LOST = Column(
    "lost", "uint64", "Events lost on the journey's CPUs while it went on: what it may miss at most", "events"
)
_TUPLE = Column("tuple", "string", "Protocol, addresses and ports: `TCP 10.0.0.1.80 > 10.0.0.2.4000`")
_FILE = Column("file", "string", "The recording it is of, as it was named; of a split set `FILE..`")
_HOST = Column("host", "string", "Name of the machine it was recorded on; null where the file doesn't tell")
_SYMBOL = Column("symbol", "string", "The probe: function, tracepoint as subsystem:name, or USDT probe")

FLOW_COLUMNS = (
    Column("proto", "string", "IP protocol by name (TCP, UDP, ICMP ...), its number where it has none"),
    Column("saddr", "string", "Source address"),
    Column("sport", "uint16", "Source port of TCP, UDP and SCTP; null in fragments after the first"),
    Column("daddr", "string", "Destination address"),
    Column("dport", "uint16", "Destination port"),
    Column("icmp_type", "uint8", "Type of ICMP and ICMPv6"),
    Column("icmp_code", "uint8", "Code of ICMP and ICMPv6"),
    Column("vlan", "uint16", "Id of the outermost VLAN tag, wherever the kernel keeps it"),
)
"""The members of the struct column `flow`; of a tunnel it is the outer packet. See `fyke.journeys.tuples`."""
_FLOW = Column("flow", "struct", "What the packet's headers say, see below; null where it is no IP packet")

EVENTS = View(
    "events",
    "The events in the order of the recording.",
    (
        _NUMBER,
        _TIME,
        _CPU,
        Column("pid", "int32", "Thread id of the task that was running"),
        Column("tgid", "int32", "Process id of that task"),
        Column("comm", "string", "Name of that thread"),
        _SYMBOL,
        Column("probe_type", "string", "Its mechanism: raw_tracepoint, kprobe, fentry, usdt ..."),
        _JOURNEY,
        _INDEX,
        Column("clone", "uint32", "Which skb of the packet's clones, in order of first sight, from 0"),
        _LOST,
        _PACKET_ID,
        _PARENT_ID,
        _TUPLE,
        _FILE,
        _HOST,
        _FLOW,
        *(Column(s.name, "struct", s.doc) for s in EVENT_SECTIONS),
    ),
)

JOURNEYS = View(
    "journeys",
    "The packets. An event that is not tracked is a journey of its own.",
    (
        _JOURNEY,
        _PACKET_ID,
        _PARENT_ID,
        Column("tracked", "bool", "Whether its events have an id"),
        Column("start_ns", "uint64", "Time of the first event", "ns"),
        Column("end_ns", "uint64", "Time of the last event", "ns"),
        Column("duration_ns", "uint64", "From the first event to the last", "ns"),
        Column("events", "int64", "How many events it has"),
        Column("clones", "int64", "How many skbs it was seen in"),
        Column(
            "path", "string", "The probes in order: `ip_rcv > ip_local_deliver`; `?` for an event without"
        ),
        Column("path_id", "string", "The first 12 digits of the path's MD5: the same for the same path"),
        Column(
            "netns", "string", "Network namespaces (netns.inum) in order of first sight, with ` > ` between"
        ),
        Column("devices", "string", "Network devices in order of first sight, with ` > ` between"),
        Column("tuple", "string", "`events.tuple` of the first event that has one"),
        Column("dropped", "bool", "Whether it, or a clone of it, was dropped"),
        Column(
            "drop_reason",
            "string",
            "Why, at the first drop: `NO_SOCKET`, or with its owner, `SUBSYSTEM/REASON`",
        ),
        Column(
            "drop_symbol", "string", "The probe before the first drop, or at it when there is none before"
        ),
        _LOST,
        _FILE,
        _HOST,
    ),
)

HOPS = View(
    "hops",
    "Pairs of events that follow each other in a journey.",
    (
        _JOURNEY,
        Column("index", "uint32", "Position of the second event in the journey, from 1"),
        Column("from_symbol", "string", "Probe of the first event"),
        Column("to_symbol", "string", "Probe of the second event"),
        Column("from_ns", "uint64", "Time of the first event", "ns"),
        Column("to_ns", "uint64", "Time of the second event", "ns"),
        Column("delta_ns", "uint64", "Time between the two", "ns"),
        Column("from_dev", "string", "Network device at the first event"),
        Column("to_dev", "string", "Network device at the second event"),
        Column("from_netns", "uint32", "Network namespace (netns.inum) at the first event"),
        Column("to_netns", "uint32", "Network namespace (netns.inum) at the second event"),
        Column("from_cpu", "uint32", "CPU of the first event"),
        Column("to_cpu", "uint32", "CPU of the second event"),
        Column("from_clone", "uint32", "Which of the packet's skbs the first event saw (`events.clone`)"),
        Column("to_clone", "uint32", "Which the second event saw"),
        _LOST,
        _FILE,
        _HOST,
    ),
)

DROPS = View(
    "drops",
    "The events that tell of a drop.",
    (
        _NUMBER,
        _TIME,
        _CPU,
        _JOURNEY,
        _INDEX,
        Column("reason", "string", "The kernel's name for the reason"),
        Column("subsystem", "string", "Owner of the reason, null for the core"),
        _SYMBOL,
        Column(
            "after_symbol", "string", "Probe of the event before it in the journey; null when it is the first"
        ),
        Column(
            "rule",
            "string",
            "Of a drop by netfilter: the table, chain and rule of nftables that decided it, if recorded",
        ),
        Column("dev", "string", "Network device"),
        Column("netns", "uint32", "Network namespace (netns.inum)"),
        _TUPLE,
        _FLOW,
        _PACKET_ID,
        _FILE,
        _HOST,
    ),
)

CONNECTIONS = View(
    "connections",
    "Packets of the same protocol, addresses and ports, in both directions. A packet that is rewritten on "
    "its way (NAT) belongs to two. Its fragments without ports are a connection of their own.",
    (
        Column("proto", "string", "IP protocol by name"),
        Column("source", "string", "Address of the side whose packet was seen first"),
        Column("source_port", "uint16", "Its port"),
        Column("destination", "string", "Address of the other side"),
        Column("destination_port", "uint16", "Its port"),
        Column("packets", "int64", "Journeys, in both directions", "packets"),
        Column("bytes", "int64", "Their lengths at first sight, from the link-layer header on", "bytes"),
        Column("packets_back", "int64", "Those of them that went from destination to source", "packets"),
        Column("bytes_back", "int64", "The lengths of these", "bytes"),
        Column("events", "int64", "Events of all of them"),
        Column("first_ns", "uint64", "Time of the first event", "ns"),
        Column("last_ns", "uint64", "Time of the last event", "ns"),
        Column("drops", "int64", "Events that tell of a drop"),
        Column("lost", "uint64", "The most that `journeys.lost` is of one of them", "events"),
        Column("files", "string", "The recordings that saw it, `file` of each, with `, ` between"),
    ),
)

LOSSES = View(
    "losses",
    "Intervals in which something was lost.",
    (
        Column("until_ns", "uint64", "End of the interval", "ns"),
        Column("since_ns", "uint64", "Its start", "ns"),
        Column("cpu", "uint32", "CPU on which it was lost; null for any"),
        *(c for c in GAP.columns if c.name in ("cause", "count")),
        _FILE,
        _HOST,
    ),
)

VIEWS = (EVENTS, JOURNEYS, HOPS, DROPS, CONNECTIONS, LOSSES)

_INTRODUCTION = """\
# The views of a recording

<!-- Generated from fyke.journeys.views_columns by `python -m fyke.journeys.views_columns docs/views.md`. -->

`fyke query 'SQL' [IN]` runs a query over these views, whatever kind of file the recording is and whether it
is sorted or not. The SQL is [DuckDB's](https://duckdb.org/docs/stable/sql/introduction). Members of a struct
column are named with a dot; `packet.data` is the column of docs/columns.md.

```sql
SELECT reason, after_symbol, count(*) FROM drops GROUP BY ALL ORDER BY 3 DESC
SELECT path, count(*), avg(duration_ns) FROM journeys GROUP BY path
SELECT * FROM journeys WHERE dropped AND lost = 0
SELECT dev.name, count(*) FROM events WHERE flow.proto = 'TCP' AND flow.dport = 443 GROUP BY ALL
SELECT host, reason, count(*) FROM drops GROUP BY ALL ORDER BY 3 DESC
```

Several recordings, a directory of them or a pattern (`'web*.arrow'`) are one table, their rows one after
another: `file` and `host` say which a row is of. A packet that two machines saw is a journey in each.
"""

_FLEET = """\
## Recordings of a fleet, on Spark

All views are made from one table, `recorded`: the rows of a recording with their place, their journey and
the flow. This writes it as Parquet, for any engine that reads that:

    fyke query 'SELECT * FROM recorded' web1.arrow -o web1.parquet

`fyke schema --sql duckdb` prints the statements that make the views over it, `fyke schema --sql spark` those
for Spark from version 4.0 on (they need `pip install 'fyke[sql]'`). The rows are the same; what is uint64
here is decimal(20, 0) there.

Numbers of rows and journeys begin at 0 in each file. Of many in object storage, they are made
different by the number of the file, and `file` becomes its address there:

```python
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

from fyke.journeys.dialects import views_sql

spark = SparkSession.builder.getOrCreate()
rows = spark.read.parquet("s3a://recordings/*.parquet").withColumn("file", F.input_file_name())
files = rows.select("file").distinct().withColumn("n", F.row_number().over(Window.orderBy("file")) - 1)
rows = rows.join(F.broadcast(files), "file").withColumn("number", F.expr("n * 1000000000000 + number"))
rows = rows.withColumn("journey", F.col("journey").withField("id", F.expr("n * 1000000000000 + journey.id")))
rows.createOrReplaceTempView("recorded")
for statement in views_sql("spark"):
    spark.sql(statement)
drops = "SELECT file, reason, after_symbol, count(*) AS events FROM drops GROUP BY ALL ORDER BY events DESC"
spark.sql(drops).show()
```

A time is of its machine's own clock, so compare times within a recording only. A connection that was seen by
two machines is one row of `connections`, with the packets that either saw.
"""


def views_page() -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION]
    for view in VIEWS:
        parts.extend((f"## {view.name}", "", view.doc, "", *table_rows(view.columns, ""), ""))
        if view is EVENTS:
            parts.extend(("### flow", "", "What the packet's headers say.", ""))
            parts.extend((*table_rows(FLOW_COLUMNS, "flow."), ""))
    parts.append(_FLEET)
    return "\n".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(views_page(), encoding="utf-8")
