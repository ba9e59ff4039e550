"""Independent judges: exact arithmetic, generated models, the runtimes themselves.

Shares no code with `harness/`: what is tested is never the judge.
"""
