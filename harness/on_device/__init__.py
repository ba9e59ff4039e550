"""What happens on a device, seen from the host: its facts and state, jobs pushed, results taken."""
