"""The first file system of a guest: it puts the root it is given, below an overlay, in its own place.

The guest may write anywhere, and nothing of it reaches the machine. There is no udev: emulated, loading the
drivers of devices that nobody uses takes longer than all else together (in 5.10, 74 of 88 s).
"""

from __future__ import annotations

import lzma
import subprocess
from pathlib import Path

__all__ = ["make"]

_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_9P = "trans=virtio,version=9p2000.L,msize=524288"

# cache=loose: nothing changes the files meanwhile, and without a cache Python's imports take twice as long.
_INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
for module in /modules/*; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t 9p -o ro,cache=loose,{_9P} root /lower
/bin/busybox mount -t tmpfs tmpfs /upper
/bin/busybox mkdir /upper/files /upper/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root
for folder in proc sys dev run tmp; do /bin/busybox mkdir -p /root/$folder; done
/bin/busybox mount -t devtmpfs devtmpfs /root/dev
/bin/busybox mount -t tmpfs tmpfs /root/run
/bin/busybox mkdir /root/run/results /root/run/kernel
/bin/busybox mount -t 9p -o {_9P} results /root/run/results
/bin/busybox mount -t 9p -o ro,cache=loose,{_9P} kernel /root/run/kernel
@CHECKOUT@
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /bin/sh /run/results/init
"""
# Where the root isn't this machine's.
_CHECKOUT = f"""/bin/busybox mkdir -p "/root@PATH@"
/bin/busybox mount -t 9p -o ro,cache=loose,{_9P} checkout "/root@PATH@"
"""


def make(
    root: Path, release: str, busybox: Path = Path("/bin/busybox"), checkout: Path | None = None
) -> bytes:
    """Return a cpio archive (newc) with busybox, the modules of a kernel that it takes, and the script above.

    root: holds lib/modules/RELEASE. busybox: of the guest's architecture. checkout: mounted in its place,
    from the share of that name. OSError or CalledProcessError when something isn't there.
    """
    mount = _CHECKOUT.replace("@PATH@", str(checkout)) if checkout else ""
    files = {
        **dict.fromkeys(("bin", "dev", "lower", "modules", "proc", "root", "upper")),
        "bin/busybox": busybox.read_bytes(),
        "init": _INIT.replace("@CHECKOUT@", mount).encode(),
    }
    # Named so that the shell's order is the order in which they need each other.
    files |= {f"modules/{n:02}.ko": text for n, text in enumerate(_modules(root, release))}
    return b"".join(_entry(name, content) for name, content in files.items()) + _entry("TRAILER!!!", b"", 0)


def _modules(root: Path, release: str) -> list[bytes]:
    """Return the modules, each after those it needs."""
    paths: dict[Path, None] = {}
    for module in _MODULES:
        done = subprocess.run(
            ["modprobe", "-d", str(root), "-S", release, "--show-depends", module],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        # "insmod PATH", or "builtin NAME".
        paths |= {
            Path(line.split()[1]): None for line in done.stdout.splitlines() if line.startswith("insmod")
        }
    return [
        lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes() for path in paths
    ]


def _entry(name: str, content: bytes | None, mode: int = 0o100755) -> bytes:
    """One entry (Documentation/driver-api/early-userspace/buffer-format.rst); None: a folder."""
    data = content or b""
    path = name.encode() + b"\0"
    fields = (0, 0o40755 if content is None else mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4)
