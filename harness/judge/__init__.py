"""The judgement: device against emulator, emulator against float, scores, limits."""
