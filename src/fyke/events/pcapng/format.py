"""Numbers of the pcapng format that reading and writing share (IETF draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

# Block types (11.1).
SECTION_HEADER = 0x0A0D0D0A
INTERFACE = 1
OBSOLETE_PACKET = 2
SIMPLE_PACKET = 3
PACKET = 6  # Enhanced Packet Block
CUSTOM = 0xBAD  # one that may be copied to another file

BYTE_ORDER_MAGIC = 0x1A2B3C4D
SECTION_HEADER_MAGIC = b"\x0a\x0d\x0d\x0a"  # the same from both ends

# Options (3.5, 4.1, 4.2).
END_OF_OPTIONS = 0
COMMENT = 1
CUSTOM_TEXT = 2988  # UTF-8, behind the number of whoever defined it; may be copied
SHB_HARDWARE, SHB_OS, SHB_USERAPPL = 2, 3, 4
IF_NAME, IF_DESCRIPTION = 2, 3
IF_TSRESOL, IF_TSOFFSET = 9, 14
MAX_OPTION = 0xFFFF  # bytes

ETHERNET = 1  # LINKTYPE_ETHERNET, https://www.tcpdump.org/linktypes.html
