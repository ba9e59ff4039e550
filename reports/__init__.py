"""Reports: runs as files, tables, plots and pages."""
