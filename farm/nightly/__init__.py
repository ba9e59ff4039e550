"""The nightly run: models x recipes x devices from one TOML file, one summary, one exit code."""
