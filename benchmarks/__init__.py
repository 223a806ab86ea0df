"""Benchmarks: peers side by side in one run, reported as ratios. `make bench` runs them all."""
