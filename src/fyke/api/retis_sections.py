"""Sections that do more than hold fields, as in Retis' Python package."""

from __future__ import annotations

import base64
from typing import Any

from fyke.api.retis_fields import RetisFields, RetisList
from fyke.api.retis_ovs import RetisOvs, RetisUfid
from fyke.api.sections import to_scapy


class RawPacket(bytes):
    """The bytes of a packet, from the Ethernet header on."""

    __slots__ = ()

    def to_scapy(self) -> Any:
        """Return the packet as scapy dissects it. Raises MissingPackage where scapy isn't installed."""
        return to_scapy(self)


class RetisPacket(RetisFields):
    """The packet section."""

    __slots__ = ()

    @property
    def data(self) -> RawPacket:
        """The bytes that were kept."""
        return RawPacket(base64.b64decode(self._fields["data"]))

    def to_scapy(self) -> Any:
        """Return the packet as scapy dissects it. Raises MissingPackage where scapy isn't installed."""
        return self.data.to_scapy()


class RetisTracking(RetisFields):
    """The skb-tracking section: which packet this is."""

    __slots__ = ()

    def tracking_id(self) -> int:
        """Return the packet's id: time of first sight and address of its data, 128 bits."""
        return int(self._fields["timestamp"]) << 64 | int(self._fields["orig_head"])

    def match(self, other: RetisTracking) -> bool:
        """Say whether both are of one packet, clones included."""
        return self.tracking_id() == other.tracking_id()

    def strict_match(self, other: RetisTracking) -> bool:
        """Say whether both are of one packet and the same skb."""
        return self.match(other) and self.skb == other.skb


class RetisConntrack(RetisFields):
    """The ct section: `base` and `parent` are connections; JSON has the fields of `base` beside `state`."""

    __slots__ = ()

    @property
    def base(self) -> RetisFields:
        """The packet's own connection."""
        fields = {k: v for k, v in self._fields.items() if k not in ("state", "parent")}
        return RetisFields(fields, "connection")


CLASSES: dict[str, type[RetisFields]] = {
    "packet": RetisPacket,
    "skb_tracking": RetisTracking,
    "ct": RetisConntrack,
    "ovs": RetisOvs,
}
LISTS: dict[str, type[RetisList]] = {"ufid": RetisUfid}
