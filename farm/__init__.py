"""The farm: which devices there are, how to reach them, and the virtual ones."""
