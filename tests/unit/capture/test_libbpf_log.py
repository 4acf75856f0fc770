"""libbpf's messages."""

from __future__ import annotations

import ctypes
import gc
import weakref

from fyke.capture.libbpf_log import Log


def test_warnings_and_information_are_kept() -> None:
    log = Log()
    va_list = ctypes.create_string_buffer(64)  # nobody takes from it
    nothing = ctypes.addressof(va_list)
    log.callback(0, b"one\ntwo\n", nothing)
    log.callback(2, b"debugging", nothing)
    log.callback(1, b"three", nothing)
    assert log.lines == ["one", "two", "three"]
    assert log.summary() == "three"


def test_the_verifiers_last_complaint_is_the_summary() -> None:
    log = Log()
    log.lines = [
        "-- BEGIN PROG LOAD LOG --",
        "R1 invalid mem access",
        "processed 7 insns",
        "-- END PROG LOAD LOG --",
    ]
    assert log.summary() == "R1 invalid mem access"


def test_it_goes_with_whoever_has_it() -> None:
    gc.disable()
    try:
        log = Log()
        kept = weakref.ref(log.callback)
        del log
        assert kept() is None  # and with it the buffer
    finally:
        gc.enable()
