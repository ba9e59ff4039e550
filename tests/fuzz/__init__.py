"""Damaged model files by the hundred thousand: `python -m tests.fuzz --files 100000`."""
