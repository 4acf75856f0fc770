#!/bin/sh
# The first process of a guest, in this machine's files under an overlay.
# usage: guest.sh MODULES SCRIPT [COPY FOLDER]...
#   MODULES  the kernel's lib/modules      SCRIPT  to run      COPY FOLDER  show a folder's copy in its place
modules=$1 script=$2
shift 2
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/run/home TMPDIR=/run/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mkdir -p /dev/pts /dev/shm /lib/modules /run/home /run/lock /run/netns /run/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -sfn /proc/self/fd /dev/fd
mount --bind "$modules" /lib/modules
while [ $# -gt 0 ]; do
    mount --bind "$1" "$2"
    shift 2
done
ip link set lo up

echo "guest: ready $(cut -d' ' -f1 /proc/uptime)"
sh "$script" </dev/null
echo "guest: exit $?"
dmesg >/run/results/dmesg
sync
exec busybox poweroff -f
