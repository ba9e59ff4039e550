"""Lowering to ExecuTorch: PT2E quantization for XNNPACK, and what it leaves out."""
