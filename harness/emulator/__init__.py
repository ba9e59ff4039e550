"""The bit-accurate emulator: one graph form, one interpreter, definitions in readable numpy."""
