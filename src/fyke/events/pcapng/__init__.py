"""Packet captures of other tools, pcapng and pcap: read as events at the interface they were taken on.

A capture's packet is an event without CPU, task and tracking: `kernel.symbol` is the interface's name,
`kernel.probe_type` is `capture`, and the packet's bytes are in `packet`. Its time is the wall clock's: the
facts of a capture have a clock offset of zero.
"""

PROBE_TYPE = "capture"  # kernel.probe_type of such events
