"""geo_etl: bronze blobs in, proven, served and catalogued geospatial data out."""

__version__ = "0.1.0"
