"""Where models and data come from: MODEL and DATA references, and the zoo."""
