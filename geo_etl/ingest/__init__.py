"""What ingests of vectors and rasters share.

Here: which files are one source, archives, refusals that are worded alike, locks and clocks.
Not here: anything that knows features or pixels.
"""
