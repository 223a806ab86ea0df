"""The formats that sources come in, a module each.

A module opens a file as a `Layer`, which yields Arrow batches: what comes out looks the same
whatever came in. Not here: what becomes of the features.
"""
