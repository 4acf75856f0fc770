"""Files that Retis recorded, as Retis prints them: byte for byte."""

from __future__ import annotations

import re

import pytest
from render_samples import CORPUS

from fyke.collectors.formatting import Style
from fyke.events.reader import open_events
from fyke.journeys.sort import sort
from fyke.render.text import EventText

RECORDINGS = ("basic-default", "basic-stack-kretprobe", "meta-filter", "bridge-udp")
STYLES = {
    "print": Style(),
    "print-e": Style(link_layer=True),
    "print-single": Style(multi_line=False),
    "sort": Style(),
    "sort-single": Style(multi_line=False),
}
# docs/differences.md: each event of a journey shows its own skb; Retis repeats that of the first.
HAS_CLONES = {"bridge-udp"}


def _text(name: str, style: Style, series: bool) -> str:
    made = EventText(style, series=series)
    with open_events(str(CORPUS / name / "events.json")) as source:
        batches = sort(source.batches(), source.schema) if series else source.batches()
        pieces = [made.start(source.facts), *(bytes(p) for b in batches for p in made.batch(b)), made.end()]
    return b"".join(pieces).decode()


def _without_skb(text: str) -> str:
    return re.sub(r"\(skb [0-9a-f]+\)", "(skb)", text)


@pytest.mark.parametrize("kind", STYLES)
@pytest.mark.parametrize("name", RECORDINGS)
def test_text_is_that_of_retis(name: str, kind: str) -> None:
    series = kind.startswith("sort")
    ours = _text(name, STYLES[kind], series)
    theirs = (CORPUS / name / f"{kind}.txt").read_text()
    if series and name in HAS_CLONES:
        assert ours != theirs  # else the difference is gone: take it out of the list
        ours, theirs = _without_skb(ours), _without_skb(theirs)
    assert ours == theirs


def test_a_clone_is_shown_by_its_own_address() -> None:
    first = _text("bridge-udp", Style(), True).split("\n\n")[1]
    assert set(re.findall(r"\(skb ([0-9a-f]+)\)", first)) == {"ff46e04cc1eb6600", "ff46e04cc1eb6400"}
