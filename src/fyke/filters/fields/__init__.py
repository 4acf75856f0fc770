"""Field filters, `-m EXPR`: conditions on the kernel's own structures, found through BTF.

    sk_buff.mark == 0x1f and net_device.name in {"eth0", "eth1"}
    sk_buff._nfct:~0x7:nf_conn.mark == 1 or sock.__sk_common.skc_daddr == 10.0.0.0/8

`grammar` reads the text into a `tree`; `resolve` finds every field in the kernel's types; `lower` makes eBPF
of it; `describe` says what is read. The language is Retis' with real precedence and more kinds of values. One
difference is deliberate: a number compared with a member of type __be16, __be32 or __be64 is meant in network
order (and so is a mask), so that `sk_buff.protocol == 0x0800` is IPv4; Retis compares the raw bytes.

A term is false when a pointer on its way is null or can't be read, whatever its operator; `not TERM` is then
true. A struct alone is its address: `net_device == 0` is true where there is no device.
"""
