"""Virtual phones: a device's side of adb over a small aarch64 Android-like system under QEMU.

For tests and demos. It shares no code with the transport that it is to test.
"""
