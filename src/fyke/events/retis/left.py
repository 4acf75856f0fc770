"""What an event of Retis' has that no column of ours holds: it is kept as it is, and written back.

Which keys have a column is known by `KNOWN`, a tree of them; None stands for a key all of which is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from fyke.events.retis import connections, ovs
from fyke.events.retis.mapping import COMMON_KEYS, HANDLED, MAPPED, OWN
from fyke.events.schema import sections

SECTION, COLUMN = "other", "json"
Json = dict[str, Any]
Tree = dict[str, Any]


@cache
def known() -> Tree:
    """Return the keys of an event that are read."""
    tree: Tree = {**dict.fromkeys(HANDLED), "common": dict.fromkeys(COMMON_KEYS)}
    for mapped in MAPPED:
        node = tree
        for key in mapped.path:
            if node.get(key) is None:
                node[key] = {}
            node = node[key]
        node.update(dict.fromkeys(key for key, _ in mapped.keys))
    tree[connections.CT] = connections.known()
    tree[ovs.OVS], tree[ovs.DETRACE] = {}, ovs.known_detrace()
    tree[OWN] = {section.name: dict.fromkeys(c.name for c in section.columns) for section in sections()}
    return tree


def left_over(event: Json) -> Json:
    """Return the event without what has a column."""
    tree = known()
    if event.get(ovs.OVS) is not None:
        tree = {**tree, ovs.OVS: ovs.known_of(event[ovs.OVS])}
    return _left(event, tree)


def _left(node: Json, tree: Tree) -> Json:
    if node.keys() <= tree.keys() and not any(map(tree.get, node)):
        return {}
    left: Json = {}
    for key, value in node.items():
        if key not in tree:
            left[key] = value
        elif tree[key] is not None and isinstance(value, dict) and (inner := _left(value, tree[key])):
            left[key] = inner
    return left


def names(left: Json) -> Iterator[str]:
    """Yield the paths of what is left over, up to the first key without a column: `ovs`, `dev/mtu`."""
    for path in _paths(left, known()):
        yield "/".join(path)


def _paths(left: Json, tree: Tree) -> Iterator[tuple[str, ...]]:
    for key, value in left.items():
        if tree.get(key):
            for path in _paths(value, tree[key]):
                yield key, *path
        else:
            yield (key,)


def text(left: Json) -> str:
    """Return what is left over as JSON. Numbers with a fraction are as exact as a double."""
    return json.dumps(left, separators=(",", ":"), default=_number)


def _number(fraction: Any) -> Any:
    number = float(str(fraction))
    return number if abs(number) < float("inf") else str(fraction)


def put_back(event: Json, kept: str) -> bool:
    """Put what was left over into an event. False, and nothing is done: it would not be read as it was."""
    try:
        more = json.loads(kept)
        json.dumps(more, ensure_ascii=False).encode()  # half a surrogate pair is in no file of ours
        whole = _merged(event, more) if isinstance(more, dict) else {}
        same = bool(more) and text(left_over(whole)) == kept
    except (ValueError, RecursionError):
        return False
    if same:
        event |= whole
    return same


def _merged(node: Json, more: Json) -> Json:
    """Return both; where both have something but objects, that of `node`."""
    merged = {**more, **node}
    for key in node.keys() & more.keys():
        if isinstance(node[key], dict) and isinstance(more[key], dict):
            merged[key] = _merged(node[key], more[key])
    return merged
