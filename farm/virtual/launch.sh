#!/bin/sh
# First process of a board: builds the board's own view of the machine, then becomes its init.
# It runs in fresh mount, pid, uts and ipc namespaces: what it mounts goes with its last process.
# An ordinary user is root here by a user namespace of the board's own.
#
# launch.sh NAME CORE PORT ROOTFS UID RULE FOLDER   (FOLDER last: processes.py finds the board by
# it; RULE for a binfmt_misc of its own, or empty)
set -eu
name=$1 core=$2 port=$3 rootfs=$4 uid=$5 rule=$6 folder=$7

# In a user namespace, an overlay keeps its marks where a user may write them.
marks=,userxattr
case $(tr -s ' ' </proc/self/uid_map) in " 0 0 4294967295") marks= ;; esac
# Relative paths, for ':' and ',' in a path would split the options of the overlay.
cd "$folder"
layers="lowerdir=../../rootfs/$rootfs,upperdir=upper,workdir=work$marks"
if ! mount -t overlay -o "$layers" "$name" root
then
    echo "$folder must be on a file system that can carry an overlay's upper layer" \
        "(ext4, xfs, btrfs, tmpfs; not another overlay): choose another EDGEFARM_HOME" >&2
    exit 1
fi

chown "$uid:$uid" root/home/edge
mount -t proc proc root/proc
mount --bind cpuinfo root/proc/cpuinfo
if [ -n "$rule" ]; then
    mount -t binfmt_misc binfmt_misc root/proc/sys/fs/binfmt_misc
    printf '%s' "$rule" >root/proc/sys/fs/binfmt_misc/register
fi
# A user namespace may not mount the sysfs of a network that is not its own.
if ! mount -t sysfs -o ro sysfs root/sys 2>/dev/null; then
    mount --rbind /sys root/sys
    mount -o remount,bind,ro root/sys
fi
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
hostname "$name"

cd root
mkdir -p .host
pivot_root . .host
# From here on every program is the board's own, under QEMU; sessions get the core by SetEnv.
# shellcheck disable=SC2016  # the board's shell expands it
exec /bin/busybox sh -c '
    busybox umount -l /.host && busybox rmdir /.host &&
    exec /usr/bin/tini -- /usr/sbin/sshd -D -e -p "$1" -o "SetEnv=QEMU_CPU=$2"
' board-init "$port" "$core"
