"""Lowering to LiteRT: conversion, quantization, and what both get wrong, mended."""
