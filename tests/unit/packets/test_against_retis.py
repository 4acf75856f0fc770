"""The text of random packets equals that of Retis' own event library, but for the named differences.

FYKE_RETIS_EXAMPLES sets how many batches of packets are tried (a hundred packets and cuts in each).
"""

from __future__ import annotations

import os

import pytest
import retis_oracle
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from packet_strategies import ethernets
from retis_differences import DIFFERENCES, Difference, agree

from fyke.packets import text

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
    assert retis_oracle.texts([difference.sample]) == [difference.theirs]
    assert text(difference.sample, len(difference.sample)) == difference.ours
    assert difference.theirs != difference.ours


def test_a_difference_excuses_nothing_else() -> None:
    assert agree("a off 8 [rsvd] b", "a off 8 [+] b")
    assert not agree("a off 8 [rsvd] b", "a off 8 [rsvd] b")
    assert not agree("a off 8 [rsvd] b", "a off 8 [+] c")
    assert not agree(retis_oracle.CRASHED, "10.0.0.1 > 10.0.0.2 tos 0x0")
    assert not agree("::1 > ::2 ttl 1 label 0x0 exts [Esp] x", "::1 > ::3 ttl 1 label 0x0 proto ESP (50)")
