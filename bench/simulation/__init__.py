"""Simulated devices behind the real transport contract, for the farm's bench and tests."""
