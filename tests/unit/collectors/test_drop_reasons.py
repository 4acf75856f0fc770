"""Names of drop reasons, from the enums of made-up kernels."""

from __future__ import annotations

import pytest

from fyke.collectors.skb_drop.reasons import reason_name, subsystem_name

CORE = {
    0: "SKB_NOT_DROPPED_YET",
    1: "SKB_CONSUMED",
    2: "SKB_DROP_REASON_NOT_SPECIFIED",
    3: "SKB_DROP_REASON_NO_SOCKET",
}
SUBSYSTEMS = {
    0: "SKB_DROP_REASON_SUBSYS_CORE",
    1: "SKB_DROP_REASON_SUBSYS_MAC80211_UNUSABLE",
    3: "SKB_DROP_REASON_SUBSYS_OPENVSWITCH",
    4: "SKB_DROP_REASON_SUBSYS_QDISC",
}
KERNEL = {
    "skb_drop_reason": CORE,
    "skb_drop_reason_subsys": SUBSYSTEMS,
    "mac80211_drop_reason": {0x10001: "___RX_DROP_UNUSABLE", 0x10002: "RX_DROP_U_MIC_FAIL"},
    "ovs_drop_reason": {0x30001: "OVS_DROP_LAST_ACTION"},
    "qdisc_drop_reason": {0x40001: "QDISC_DROP_OVERLIMIT"},
}


class Enums:
    """A kernel that has some of the enums."""

    def __init__(self, *lacks: str) -> None:
        self.enums = {name: values for name, values in KERNEL.items() if name not in lacks}

    def enum(self, type_name: str) -> dict[int, str]:
        return self.enums.get(type_name, {})

    def stack(self, stack_id: int) -> list[str] | None:
        raise AssertionError

    def symbol(self, address: int) -> str:
        raise AssertionError

    def name(self, number: int) -> str | None:
        raise AssertionError

    def nft_rule(self, netns: int, table: int, rule: int) -> str | None:
        raise AssertionError


@pytest.mark.parametrize(
    ("raw", "subsystem", "name"),
    [
        (0, None, "NOT_DROPPED_YET"),
        (1, None, "CONSUMED"),
        (2, None, "NOT_SPECIFIED"),
        (3, None, "NO_SOCKET"),
        (0x10002, "mac80211_unusable", "RX_DROP_U_MIC_FAIL"),
        (0x30001, "openvswitch", "OVS_DROP_LAST_ACTION"),
        (0x40001, "qdisc", "QDISC_DROP_OVERLIMIT"),
        # Younger than what is known, of a known subsystem and of an unknown one.
        (99, None, "99"),
        (0x300FF, "openvswitch", "255"),
        (0xFFFF0007, "65535", "7"),
    ],
)
def test_names(raw: int, subsystem: str | None, name: str) -> None:
    assert subsystem_name(raw, Enums()) == subsystem
    assert reason_name(raw, Enums()) == name


def test_an_older_kernel_has_no_subsystems() -> None:
    kernel = Enums("skb_drop_reason_subsys", "mac80211_drop_reason", "ovs_drop_reason", "qdisc_drop_reason")
    assert (subsystem_name(3, kernel), reason_name(3, kernel)) == (None, "NO_SOCKET")
    assert (subsystem_name(0x30001, kernel), reason_name(0x30001, kernel)) == ("3", "1")


def test_a_subsystem_whose_module_is_not_loaded() -> None:
    kernel = Enums("ovs_drop_reason")
    assert (subsystem_name(0x30001, kernel), reason_name(0x30001, kernel)) == ("openvswitch", "1")


@pytest.mark.parametrize("raw", [0, 1, 0x7FFF])
def test_a_kernel_without_reasons(raw: int) -> None:
    kernel = Enums(*KERNEL)
    assert reason_name(raw, kernel) == "NOT_SPECIFIED"
    assert subsystem_name(raw, kernel) is None
