"""Virtual boards: real aarch64 Linux under QEMU with a real sshd."""
