"""What a guest that went down died of."""

from __future__ import annotations

import pytest
from guest import ran_into_old_breakpoint

OOPS = """\
tests/host/test_connections.py::test_tuples [  418.235688] Oops: int3: 0000 [#1] SMP NOPTI
[  418.249655] RIP: 0010:__netif_receive_skb_core.constprop.0+0x37/0xdf0
[  418.249700] Code: d5 41 54 00 00 4c 8b 27 4c 89 64 24 28 {byte} <a1> 03 00 00 e9 59 03 00 00 49
[  418.260173] Kernel panic - not syncing: Fatal exception in interrupt
"""


@pytest.mark.parametrize(("byte", "expected"), [("e9", True), ("0f", True), ("cc", False)])
def test_breakpoints_that_are_gone(byte: str, expected: bool) -> None:
    """What is patched is a jump or a nop by then; a breakpoint that is still there is a probe's."""
    assert ran_into_old_breakpoint(OOPS.format(byte=byte)) is expected


def test_other_ends() -> None:
    assert not ran_into_old_breakpoint(OOPS.format(byte="e9").replace("int3", "general protection fault"))
    assert not ran_into_old_breakpoint("")
