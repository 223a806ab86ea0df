"""Connections to the outside: blob storage, PostGIS, pgSTAC, the servers.

A resource owns its connection and offers verbs. Nothing is opened at import, nor when the
definitions are built.
"""
