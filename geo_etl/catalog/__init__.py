"""STAC items and collections from plain facts. Here: documents. Not here: pgSTAC, storage."""
