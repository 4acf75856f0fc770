"""Packets that are right in every field; tests/host/test_dissection.py compares them with tshark."""

from random import Random

from line_fields import fields
from wire_packets import frame

from fyke.packets import text

_TRUNCATED = "... (truncated or incomplete packet)"
_LINK = ("eth.", "vlan.", "ieee8021ad.", "macsec.", "geneve.", "gre.")
"""Shown with the link layer only, or read only with what it adds."""


def test_without_the_link_layer_the_rest_is_the_same() -> None:
    random = Random(1)
    for _ in range(500):
        packet = frame(random)
        plain, linked = text(packet, len(packet)), text(packet, len(packet), link_layer=True)
        assert not plain.endswith(_TRUNCATED)
        seen = {name: found for name, found in fields(linked).items() if not name.startswith(_LINK)}
        assert fields(plain) == seen


def test_every_cut_says_the_beginning_of_the_whole() -> None:
    random = Random(2)
    for _ in range(60):
        packet = frame(random)
        whole = fields(text(packet, len(packet), link_layer=True))
        for size in range(len(packet)):
            line = text(packet[:size], len(packet), link_layer=True)
            for name, found in fields(line).items():
                # Ports may be missing before others; the length of options and the check value may be cut.
                if not name.endswith("port") and name not in ("geneve.option.length", "ah.icv"):
                    assert found == whole[name][: len(found)], f"{name}: {line}"
