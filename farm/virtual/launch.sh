#!/bin/sh
# First process of a board: builds the board's own view of the machine, then becomes its init.
# It runs in fresh mount, pid, uts and ipc namespaces: what it mounts goes with its last process.
#
# launch.sh NAME CORE PORT ROOTFS FOLDER     (FOLDER last: processes.py finds the board by it)
set -eu
name=$1 core=$2 port=$3 rootfs=$4 folder=$5

# Relative paths, for ':' and ',' in a path would split the options of the overlay.
cd "$folder"
if ! mount -t overlay -o "lowerdir=../../rootfs/$rootfs,upperdir=upper,workdir=work" "$name" root
then
    echo "$folder must be on a file system that can carry an overlay's upper layer" \
        "(ext4, xfs, btrfs, tmpfs; not another overlay): choose another EDGEFARM_HOME" >&2
    exit 1
fi

mount -t proc proc root/proc
mount --bind cpuinfo root/proc/cpuinfo
mount -t sysfs -o ro sysfs root/sys
mount --bind run root/run
mount -t tmpfs -o mode=755,size=1m dev root/dev
for node in null zero full random urandom tty; do
    : >"root/dev/$node"
    mount --bind "/dev/$node" "root/dev/$node"
done
mkdir root/dev/pts root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts root/dev/pts
mount -t tmpfs -o mode=1777 shm root/dev/shm
ln -s pts/ptmx root/dev/ptmx
ln -s /proc/self/fd root/dev/fd
ln -s /proc/self/fd/0 root/dev/stdin
ln -s /proc/self/fd/1 root/dev/stdout
ln -s /proc/self/fd/2 root/dev/stderr
echo "$name" >root/proc/sys/kernel/hostname

cd root
mkdir -p .host
pivot_root . .host
# From here on every program is the board's own, under QEMU; sessions get the core by SetEnv.
# shellcheck disable=SC2016  # the board's shell expands it
exec /bin/busybox sh -c '
    busybox umount -l /.host && busybox rmdir /.host &&
    exec /usr/bin/tini -- /usr/sbin/sshd -D -e -p "$1" -o "SetEnv=QEMU_CPU=$2"
' board-init "$port" "$core"
