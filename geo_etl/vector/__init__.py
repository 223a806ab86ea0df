"""Vector data, from a file to a published table: read, repair, chunk, load, publish.

Here: functions over paths, Arrow batches, geometry arrays and database connections. Not here:
Dagster, blob storage, settings. The order of a feature's way is the order of the modules:
`source` → `scan` → `chunk` → `geometry` and `attributes` → `load` → `publish`.
"""
