"""The text of random packets equals that of Retis' own event library, but for the named differences.

FYKE_RETIS_EXAMPLES sets how many batches of packets are tried (a hundred packets and cuts in each).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import retis_oracle
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from packet_strategies import ethernets
from retis_differences import DIFFERENCES, Difference, agree

from fyke.packets import text

DOCUMENT = Path(__file__).parents[3] / "docs" / "differences.md"

EXAMPLES = int(os.environ.get("FYKE_RETIS_EXAMPLES", "60"))

_settings = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # A failure names its packet already; shrinking a whole batch through files would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _compare(packets: list[bytes]) -> None:
    for packet, theirs in zip(packets, retis_oracle.texts(packets), strict=True):
        ours = text(packet, len(packet))
        assert agree(theirs, ours), f"{packet.hex()}\nretis: {theirs}\nfyke:  {ours}"


@_settings
@given(st.lists(st.tuples(ethernets(), st.lists(st.floats(0, 1), max_size=8)), min_size=1, max_size=16))
def test_random_packets_whole_and_cut(drawn: list[tuple[bytes, list[float]]]) -> None:
    _compare([p[: round(len(p) * cut)] for p, cuts in drawn for cut in (1.0, *cuts)])


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.name)
def test_each_difference_is_still_one(difference: Difference) -> None:
    if not difference.link_layer:
        assert retis_oracle.texts([difference.sample]) == [difference.theirs]
    ours = text(difference.sample, len(difference.sample), link_layer=difference.link_layer)
    assert ours == difference.ours
    assert difference.theirs != difference.ours


def test_users_can_read_of_every_difference() -> None:
    """Row by row; of the one that is no entry here, Retis' library and binary make different texts."""
    section = DOCUMENT.read_text().partition("\n## Text of packets\n")[2].partition("\n## ")[0]
    head, rule, *rows = section.strip().splitlines()
    assert (head, rule) == ("| where | Retis | fyke | why |", "|---|---|---|---|")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert all(len(row) == 4 and all(row) for row in cells)
    documented = [row[0] for row in cells]
    assert len(set(documented)) == len(documented)
    listed = {difference.row or difference.name for difference in DIFFERENCES}
    assert set(documented) == listed | {"TCP sequence number that wraps"}


def test_a_difference_excuses_nothing_else() -> None:
    assert agree("a off 8 [rsvd] b", "a off 8 [+] b")
    assert not agree("a off 8 [rsvd] b", "a off 8 [rsvd] b")
    assert not agree("a off 8 [rsvd] b", "a off 8 [+] c")
    assert not agree(retis_oracle.CRASHED, "10.0.0.1 > 10.0.0.2 tos 0x0")
    header, cut = "1.1.1.1 > 2.2.2.2 tos 0x0 ttl 1 id 1 off {} len 40", "... (truncated or incomplete packet)"
    later = header.format(8)
    with_ports = later.replace(".1 >", ".1.7 >").replace(".2 tos", ".2.8 tos")
    assert agree(f"{with_ports} proto UDP (17) len 5", f"{later} proto UDP (17)")
    assert not agree(f"{with_ports} proto UDP (17) len 5", f"{later} proto TCP (6)")
    assert not agree(f"{header.format(0)} proto UDP (17) len 5", f"{header.format(0)} proto UDP (17)")
    assert not agree(f"{later} proto UDP (17) len 5", f"{later} proto UDP (17) len 4")
    assert not agree(f"{later} proto TCP (6){cut}", f"{later} proto TCP (6) flags [.] seq 1 win 1")
    unfilled = header.format(0).removesuffix(" len 40")
    assert agree(f"{unfilled} proto TCP (6){cut}", f"{unfilled} proto TCP (6) flags [.] seq 1 win 1")
    assert not agree(
        f"{unfilled} proto TCP (6){cut}", f"{unfilled} len 40 proto TCP (6) flags [.] seq 1 win 1"
    )
    assert agree(" opts [Ipv4OptionNumber(20)] proto ", " opts [ra] proto ")
    assert not agree(" opts [Ipv4OptionNumber(20)] proto ", " opts [rr] proto ")
    assert not agree("::1 > ::2 ttl 1 label 0x0 exts [Esp] x", "::1 > ::3 ttl 1 label 0x0 proto ESP (50)")
