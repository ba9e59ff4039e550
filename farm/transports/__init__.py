"""Transports: SSH, adb and this host, under one contract (`harness.device.Transport`)."""
