"""What IP carries as it is, with no header between (RFC 2003, RFC 4213, RFC 4023, RFC 8986)."""

from __future__ import annotations

from fyke.packets.assigned import ETH_P_IP, ETH_P_IPV6, ETH_P_MPLS_UC
from fyke.packets.layer import ETHERNET, Cursor, Dissector


def _directly(follows: int) -> Dissector:
    """A dissector that finds this at the cursor: ` ` and the text of what is there."""

    def dissect(c: Cursor) -> int:
        c.out.append(" ")
        return follows

    return dissect


ipv4 = _directly(ETH_P_IP)
ipv6 = _directly(ETH_P_IPV6)
mpls = _directly(ETH_P_MPLS_UC)
frame = _directly(ETHERNET)
