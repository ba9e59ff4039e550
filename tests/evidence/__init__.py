"""Every generated family on a machine, in one batch: `python -m tests.evidence cortex-a53`.

What it compared is recorded in tests/golden/measured, and a test holds the profiles' entries
against that: one says MEASURED only if such a run met it.
"""
