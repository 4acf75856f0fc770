"""Counts drops by reason and by the function that dropped: `fyke python -i FILE drops`."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from __main__ import reader  # `fyke python` puts it there

events = chain.from_iterable(reader.series()) if reader.sorted() else reader.events()
counts: Counter[tuple[str, str]] = Counter()
for event in events:
    if event.skb_drop is None:
        continue
    # The innermost frame that isn't the freeing of the skb, where there is a stack trace.
    frames = event.kernel.stack_trace or ()
    place = next((f.partition("+")[0] for f in frames if "kfree_skb" not in f and "bpf" not in f), "?")
    counts[event.skb_drop.drop_reason, place] += 1

for (reason, place), count in counts.most_common():
    print(f"{count:8}  {reason}  {place}")
if not counts:
    print("no packet was dropped")
