"""edgefarm's domain: contracts, quantization, the emulator, comparison, and the straight way
through them."""

__version__ = "0.1.0"
