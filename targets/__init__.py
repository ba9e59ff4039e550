"""The targets: one file a family, one line each in the table."""
