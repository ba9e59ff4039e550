"""Reports: runs as files, tables, plots and pages."""

from reports.store import load_runs

__all__ = ["load_runs"]
