"""Open vSwitch for the live tests: built from Debian's source with USDT probes, which no distribution's has.

usage: openvswitch.py         builds what isn't in the cache, and prints the folder

A guest sees this machine's files, the cache too. The folder has the programs in OVS' own layout: vswitchd/,
ovsdb/, utilities/, and the schema vswitchd/vswitch.ovsschema.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from pathlib import Path

from debian import Apt, FetchError, cache, call

__all__ = ["PROGRAMS", "build", "built"]

PROGRAMS = (
    "vswitchd/ovs-vswitchd",
    "ovsdb/ovsdb-server",
    "ovsdb/ovsdb-tool",
    *(f"utilities/ovs-{name}" for name in ("vsctl", "appctl", "dpctl", "ofctl")),
)
_LINK = Path(__file__).resolve().parents[2] / "build" / "openvswitch"
_SCHEMA = "vswitchd/vswitch.ovsschema"
_SUITE = "sid"
_PACKAGE = "systemtap-sdt-dev"  # the header of USDT probes
_HEADER = Path("/usr/include/x86_64-linux-gnu/sys/sdt.h")
# What its archive has of these is up to date, whatever the times of its files say.
_AUTOTOOLS = tuple(f"{name}=:" for name in ("ACLOCAL", "AUTOMAKE", "AUTOCONF", "AUTOHEADER"))
# A header that others include is made by a rule that `make PROGRAM` alone doesn't know of.
_MADE_FIRST = "include Makefile\nmade-first: $(BUILT_SOURCES)\n"


def built() -> Path | None:
    """Return the folder of the programs if they have been built. In a guest, too, which has no cache."""
    return _LINK.resolve() if _LINK.is_dir() else None


def build() -> Path:
    """Return the folder of the programs; they are built when they aren't there. FetchError."""
    home = cache() / "openvswitch"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = home / "programs"
        if not programs.is_dir():
            _build(home)
        _LINK.parent.mkdir(exist_ok=True)
        _LINK.unlink(missing_ok=True)
        _LINK.symlink_to(programs)
        return programs


def _build(home: Path) -> None:
    print("  BUILD   Open vSwitch", flush=True)
    half = home / "half"
    shutil.rmtree(half, ignore_errors=True)
    if not _header():
        call("apt-get", "install", "-y", "--no-install-recommends", _PACKAGE)
    apt = Apt(_SUITE, home, "amd64", source=True)
    apt.update()
    files = apt.download_source("openvswitch", half / "archives")
    source = half / "source"
    source.mkdir()
    for kind in (".orig.tar", ".debian.tar"):
        archive = next(file for file in files if kind in file.name)
        strip = ["--strip-components=1"] if kind == ".orig.tar" else []
        call("tar", "-xf", str(archive), "-C", str(source), *strip)
    _compile(source)
    programs = half / "programs"
    for name in (*PROGRAMS, _SCHEMA):
        (programs / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, programs / name)
    programs.rename(home / "programs")
    shutil.rmtree(half)


def _compile(source: Path) -> None:
    for name in ("aclocal.m4", "configure", "config.h.in", "Makefile.in"):
        os.utime(source / name, times=(time.time(), time.time()))
    call("./configure", "--enable-usdt-probes", "--disable-ssl", *_AUTOTOOLS, cwd=source)
    (source / "made-first.mk").write_text(_MADE_FIRST)
    jobs = f"-j{os.cpu_count() or 1}"
    call("make", jobs, *_AUTOTOOLS, "-f", "made-first.mk", "made-first", cwd=source)
    call("make", jobs, *_AUTOTOOLS, *PROGRAMS, cwd=source)


def _header() -> bool:
    return _HEADER.exists() or Path("/usr/include/sys/sdt.h").exists()


def main() -> int:
    """Build it and print where it is. Exit code 1 when that can't be done."""
    try:
        print(build())
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
