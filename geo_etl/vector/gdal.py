"""GDAL, restricted to the drivers that geo_etl reads with.

GDAL asks every driver whether a file is its own, and some of them follow what the file says: a
VRT reads other files, a GDALG file runs an algorithm. An extension or a signature does not stop
that, so all other drivers are unloaded from this process before any file is opened.
"""

import pyogrio
from pyogrio import _ogr

DRIVERS = frozenset(["GPKG", "GeoJSON", "ESRI Shapefile"])


def restrict_drivers() -> None:
    """Unload all vector drivers but `DRIVERS` from this process."""
    others = [name for name in pyogrio.list_drivers() if name not in DRIVERS]
    if others:
        # GDAL reads GDAL_SKIP whenever drivers are registered, which happens at import.
        pyogrio.set_gdal_config_options({"GDAL_SKIP": ",".join(others)})
        _ogr._register_drivers()
