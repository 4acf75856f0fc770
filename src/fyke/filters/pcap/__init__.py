"""The packet filter: pcap-filter(7), compiled by libpcap, lowered to eBPF or evaluated on recorded packets.

compile.py    text -> cBPF, by libpcap; refuses what can't be done     place.py: where an error is
flow.py       what is known at each instruction: lengths checked, registers set
lower.py      cBPF -> eBPF for the slot in the probe programs          loads.py: the packet's bytes
evaluate.py   cBPF over many recorded packets at once
nft.py        cBPF -> rules of nftables that pass the same packets
text.py       cBPF as `tcpdump -d` shows it

There are three verdicts. UNREADABLE is given where libpcap, which sees only the bytes that are there,
rejects: the packet has the bytes the expression looks at, but they can't be read (fragments, or not
recorded).
"""

from __future__ import annotations

REJECT, MATCH, UNREADABLE = 0, 1, 2

# A packet without a link-layer header, and an expression that means something only with one.
NO_LINK_LAYER = 3
