"""What collectors declare fits together: names, arguments, probes, options."""

from __future__ import annotations

import pytest
from made_kernel import made_kernel

from fyke.capture.arguments import ARGUMENTS
from fyke.capture.probe_spec import parse_probe
from fyke.collectors import COLLECTORS, Collector
from fyke.collectors.ovs.sections import OVS_DETRACE

# What OVS knows of a flow, which is asked of it.
MADE_LATER = {
    *(f"ovs_lookup.{name}" for name in ("dpflow", "ofpflows")),
    *(f"ovs_detrace.{column.name}" for column in OVS_DETRACE.columns),
    *(f"ovs_{name}.candidates" for name in ("upcall", "action", "recv")),
}
IDS = [c.name for c in COLLECTORS]


def test_names_are_told_apart() -> None:
    assert len(set(IDS)) == len(IDS)
    sections = [s.name for c in COLLECTORS for s in c.sections]
    assert len(set(sections)) == len(sections)
    words = [word for c in COLLECTORS for word, _ in c.optional_sections]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("collector", COLLECTORS, ids=IDS)
def test_a_declaration_is_whole(collector: Collector) -> None:
    known = {spelled for types in ARGUMENTS.values() for spelled in types}
    assert set(collector.takes) <= known, "an argument that no program can find"
    assert all(parse_probe(text) for text in collector.probes(made_kernel()))
    names = {s.name for s in collector.sections}
    assert {section for _, section in collector.optional_sections} <= names
    columns = {f"{s.name}.{column.name}": column for s in collector.sections for column in s.columns}
    assert all(column.doc for column in columns.values())
    assert {name for name, column in columns.items() if not column.source} <= MADE_LATER


def test_every_argument_that_can_be_found_is_taken_by_some_collector() -> None:
    taken = {spelled for collector in COLLECTORS for spelled in collector.takes}
    for kind, types in ARGUMENTS.items():
        # nftables' verdicts, and what Open vSwitch does, are taken at the collectors' own probes only.
        assert set(types) <= taken or kind.startswith(("nft_", "ovs_")), kind
