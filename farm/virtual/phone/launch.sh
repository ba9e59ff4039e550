#!/bin/sh
# First process of a phone: builds the phone's own view of the machine, then runs its adb daemon,
# again after each reboot. It runs in fresh mount, pid, uts and ipc namespaces: what it mounts goes
# with its last process. It collects the phone's orphans, as `wait` does.
#
# launch.sh NAME CORE PORT ROOTFS UID RULE PYTHON DATA_BYTES FOLDER    (as a board's launch.sh)
set -eu
name=$1 core=$2 port=$3 rootfs=$4 uid=$5 rule=$6 python=$7 data_bytes=$8 folder=$9

cd "$folder"
mount --bind "../../rootfs/$rootfs" root
mount -o remount,bind,ro,nosuid root
mount --bind vendor root/vendor
mount -o remount,bind,ro root/vendor
mount --bind sys root/sys
mount -o remount,bind,ro root/sys
mount -t proc proc root/proc
mount --bind cpuinfo root/proc/cpuinfo
if [ -n "$rule" ]; then
    mount -t binfmt_misc binfmt_misc root/proc/sys/fs/binfmt_misc
    printf '%s' "$rule" >root/proc/sys/fs/binfmt_misc/register
fi
mount -t tmpfs -o "mode=755,nosuid,nodev,size=$data_bytes" data root/data
mkdir -p root/data/local/tmp
chown "$uid:$uid" root/data/local root/data/local/tmp
mount -t tmpfs -o mode=755,size=1m dev root/dev
for node in null zero full random urandom; do
    : >"root/dev/$node"
    mount --bind "/dev/$node" "root/dev/$node"
done
ln -s /proc/self/fd root/dev/fd
hostname "$name"

while :; do
    status=0
    "$python" -P -m farm.virtual.phone.daemon "$core" "$port" "$folder" || status=$?
    kill -KILL -1 2>/dev/null || true
    [ "$status" = 42 ] || exit "$status"
    sleep "$(cat run/away)"
done
