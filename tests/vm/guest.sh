#!/bin/sh
# What a guest does once it has booted: makes the machine's files quick to read, then runs the script that was left in
# the results folder. usage: guest.sh FOLDER...   (what Python and the tests are read from; THERE=HERE for a copy)
set -u
options=version=9p2000.L,trans=virtio,msize=524288

# The root file system is 9p without a cache: each import of Python asks the host for hundreds of files again, in 4 s.
# The same files over a mount that may cache (nothing changes them meanwhile) take 2 s, as a disk image does.
mkdir -p /run/cached /run/results /run/home
mount -t 9p -o "ro,cache=loose,$options" cached /run/cached
for folder in "$@"; do
    mount --bind "/run/cached${folder%%=*}" "${folder#*=}"
done
mount -t 9p -o "$options" results /run/results
ip link set lo up

export HOME=/run/home LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PATH="$PATH:/usr/sbin:/sbin"
echo "guest: ready $(cut -d' ' -f1 /proc/uptime)"
sh /run/results/run </dev/null
echo "guest: exit $?"
dmesg >/run/results/dmesg
