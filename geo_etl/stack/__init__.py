"""The private stack: PostgreSQL with PostGIS and pgSTAC, the servers, Dagster's instance.

Here: starting, stopping, migrating, health. Not here: anything about a single source.
"""
