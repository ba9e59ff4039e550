"""Tune: the recipe that keeps a model within a budget on a target, found by trying.

Every trial is judged by the artifact's own integers on this host, on samples that are for nothing
else; the way goes from cheap recipes to dear ones, and the diagnosis says which are worth it.
"""
