"""The float model as techniques of stage ``graph`` see it: layers, scales, errors."""
