"""Integer arithmetic of the runtimes, defined in readable numpy.

Imports numpy and the standard library only.
"""
