"""The server: the farm's queue over HTTP, for those who have a token.

It takes jobs as archives (`farm.archive`), says how they stand and what came of them, and never
runs what was submitted: workers do. It keeps nothing itself: killed and started again, it goes on.
"""

from farm.server.app import Settings, create_app
from farm.server.connections import OPTIONS, allow_many_files

__all__ = ["OPTIONS", "Settings", "allow_many_files", "create_app"]
