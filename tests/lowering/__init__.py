"""Which kinds of module lower, run and stay exact on which runtime: docs/modules.md."""
