"""Measured against what people would use instead: ratios, each from one interleaved run.

`python -m benchmarks` (or `make bench`) measures everything and writes `benchmarks/RESULTS.md`.
"""
