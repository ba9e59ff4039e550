"""Readers and writers of model files: `.tflite` and `.pte` into one graph form. Untrusted input."""
