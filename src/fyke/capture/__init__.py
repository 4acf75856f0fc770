"""The live half: from options and kernel facts to a plan, to programs in the kernel, to batches of events.

plan.py     what to do, as a value; needs no root, prints (`--dry-run`)
user_probes.py, user_events.py   what is special to user programs
layout.py   the record's layout, read from the BPF object's own BTF
settings.py a plan, written into the BPF object: constants, and what is known of each probe
load.py     a plan -> loaded programs and maps
attach.py   loaded programs -> links, by the mechanism of each probe
rings.py    per-CPU rings -> records in time order
decode.py   records -> Arrow batches
names.py    addresses, stacks, enum values -> names
loss.py     counters -> gap rows
session.py  the lifecycle of all of these
ready.py    the file that tells others that events flow
run.py      the loop around a session, until something ends it
"""
