"""The names in Retis' events: what a script may ask for, and gets None where the event hasn't it."""

from __future__ import annotations

# A section as an attribute -> its key in JSON.
SECTIONS = {
    name.replace("-", "_"): name
    for name in (
        *("common", "kernel", "userspace", "tracking", "skb-tracking", "skb-drop", "packet", "skb", "netns"),
        *("dev", "ovs", "ovs-detrace", "nft", "ct", "startup"),
    )
}


def _fields(names: str, **nested: str) -> dict[str, str]:
    return {**dict.fromkeys(names.split(), ""), **nested}


# Section or part -> its fields, each with the part that describes what is in it.
NESTED: dict[str, dict[str, str]] = {
    "common": _fields("timestamp smp_id", task="task"),
    "task": _fields("pid tgid comm"),
    "kernel": _fields("symbol probe_type stack_trace"),
    "userspace": _fields("probe_type symbol ip path pid tid"),
    "tracking": _fields("idx", skb="skb_tracking"),
    "skb_tracking": _fields("orig_head timestamp skb"),
    "skb_drop": _fields("subsys drop_reason"),
    "packet": _fields("len capture_len data"),
    "skb": {part: part for part in ("vlan_accel", "meta", "data_ref", "gso")},
    "vlan_accel": _fields("proto pcp dei vid"),
    "meta": _fields("len data_len hash ip_summed csum csum_level priority"),
    "data_ref": _fields("nohdr cloned fclone users dataref"),
    "gso": _fields("flags frags size segs type"),
    "netns": _fields("cookie inum"),
    "dev": _fields("name ifindex rx_ifindex"),
    "ovs_detrace": _fields("flow sf_acts dpflow ofpflows", ufid="ufid"),
    "ovs.upcall": _fields("cmd port cpu"),
    "ovs.upcall_enqueue": _fields("ret cmd port upcall_ts upcall_cpu queue_id"),
    "ovs.upcall_return": _fields("upcall_ts upcall_cpu ret"),
    "ovs.recv_upcall": _fields("type pkt_size key_size queue_id batch_ts batch_idx"),
    "ovs.flow_operation": _fields("op_type queue_id batch_ts batch_idx"),
    "ovs.action_execute": _fields("recirc_id queue_id"),
    "ovs.action.output": _fields("port"),
    "ovs.action.recirc": _fields("id"),
    "ovs.action.ct": _fields("flags zone_id", nat="nat"),
    "nat": _fields("dir min_addr max_addr min_port max_port"),
    "ovs.flow_lookup": _fields("flow sf_acts n_mask_hit n_cache_hit dpflow ofpflows", ufid="ufid"),
    "nft": _fields(
        "table_name chain_name verdict verdict_chain_name table_handle chain_handle rule_handle policy"
    ),
    "ct": _fields("state", parent="connection"),
    "connection": _fields(
        "zone_id zone_dir proto_state mark ct_status", orig="tuple", reply="tuple", labels="labels"
    ),
    "tuple": _fields("", ip="ip", proto="proto"),
    "ip": _fields("src dst version"),
    "proto": {},  # one of tcp, udp, icmp, sctp: the one it is
    "labels": _fields("hi lo"),
    "startup": _fields(
        "retis_version cmdline",
        clock_monotonic_offset="clock",
        machine="machine",
        split_file="split_file",
    ),
    "clock": _fields("sec nsec"),
    "machine": _fields("kernel_release kernel_version hardware_name"),
    "split_file": _fields("id", policy="policy"),
}
