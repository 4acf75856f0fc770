"""The machines that QEMU emulates, one an architecture, and their command lines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MACHINES", "Machine", "Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """A folder of this machine that the guest can mount, by its tag."""

    tag: str
    path: Path
    readonly: bool = True


@dataclass(frozen=True, slots=True)
class Machine:
    """An emulated machine. emulated: the arguments that choose it and its processor; native: with KVM."""

    qemu: str
    emulated: tuple[str, ...]
    native: tuple[str, ...]
    append: str

    def command(self, image: Path, initramfs: Path, shares: list[Share], *, in_turn: bool) -> list[str]:
        """Return the command that boots a kernel. in_turn: emulated processors run one at a time."""
        # KVM is for the asking only: where it is there it need not work, in a machine that is virtual itself.
        processor = self.native if self.native and os.environ.get("FYKE_VM_KVM") else self.emulated
        if in_turn:
            processor = tuple("tcg,thread=single" if word == "tcg" else word for word in processor)
        return [
            # However this process ends, the guest doesn't outlive it.
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(self.qemu, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *processor,
            *("-smp", "2", "-m", "2G", "-serial", "stdio"),
            *("-kernel", str(image), "-initrd", str(initramfs)),
            *("-append", f"{self.append} quiet loglevel=4 panic=-1 panic_on_oops=1"),
            *(argument for share in shares for argument in _export(share)),
        ]


_Q35 = ("-machine", "q35,sata=off,smbus=off")
MACHINES = {
    "amd64": Machine(
        "qemu-system-x86_64",
        (*_Q35, "-accel", "tcg", "-cpu", "max"),
        (*_Q35, "-accel", "kvm", "-cpu", "host"),
        # Else 5.10 takes the HPET for its clock, and each reading leaves the emulation.
        "console=ttyS0 tsc=reliable",
    ),
    # A processor without pointer authentication, which takes a third of the time when it is emulated.
    "arm64": Machine(
        "qemu-system-aarch64",
        ("-machine", "virt,gic-version=3", "-accel", "tcg", "-cpu", "cortex-a72"),
        (),
        "console=ttyAMA0",
    ),
}


def _export(share: Share) -> list[str]:
    quoted = str(share.path).replace(",", ",,")
    readonly = "on" if share.readonly else "off"
    fsdev = f"local,id={share.tag},path={quoted},security_model=none,readonly={readonly},multidevs=remap"
    return ["-fsdev", fsdev, "-device", f"virtio-9p-pci,fsdev={share.tag},mount_tag={share.tag}"]
