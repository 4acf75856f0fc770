"""What every collection begins with."""

from __future__ import annotations

import os
import select

import pytest

from fyke.capture.begin import checked_options
from fyke.capture.plan import DEFAULT_MAX_PROBES, DEFAULT_SNAPLEN
from fyke.capture.stopping import StopRequest
from fyke.errors import UsageError


def test_what_is_not_asked_for_is_as_usual() -> None:
    options = checked_options()
    assert options.collectors == ("auto",)
    assert (options.snaplen, options.max_probes) == (DEFAULT_SNAPLEN, DEFAULT_MAX_PROBES)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"snaplen": 0}, "--snaplen 0 is not between 1 and 2048"),
        ({"snaplen": 2049}, "--snaplen 2049 is not between 1 and 2048"),
        ({"max_probes": 0}, "--max-probes 0 is less than 1"),
        ({"skb_sections": ["meta", "bogus"]}, "unknown --skb-sections value 'bogus'"),
    ],
)
def test_wrong_options(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        checked_options(**wrong)  # type: ignore[arg-type]


def test_a_stop_request_ends_a_wait_and_needs_no_signals() -> None:
    request = StopRequest()
    assert request.count == 0
    assert select.select([request.fd], [], [], 0)[0] == []
    for _ in range(100_000):  # more than a pipe takes
        request.stop()
    assert request.count == 1
    assert select.select([request.fd], [], [], 0)[0] == [request.fd]
    request.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(request.fd)
