"""GDAL, restricted to the drivers that geo_etl reads with and to local files.

GDAL asks every driver whether a file is its own, and some of them follow what the file says: a
VRT reads other files, a GDALG file runs an algorithm. An extension or a signature does not stop
that, so all other drivers are unloaded from this process before any file is opened.
"""

import os

import pyogrio
from pyogrio import _ogr

DRIVERS = frozenset(["GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf"])

CONFIGURATION = {
    # The one address that /vsicurl/ and its kin may open: none.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "/",
    # Views and virtual tables of a file get no functions that open other files, or run code.
    "OGR_SQLITE_ALLOW_EXTERNAL_ACCESS": "NO",
    "OGR_SQLITE_LOAD_EXTENSIONS": "NO",
    # Arrow bytes of one batch, whatever number of features was asked for.
    "OGR_ARROW_MEM_LIMIT": "268435456",
    # Its threads print their errors. What they could not read is looked for by the formats.
    "CPL_LOG": os.devnull,
    # FlatGeobuf's own Arrow stream gives a null geometry wrong offsets (GDAL 3.12.4).
    "OGR_FLATGEOBUF_STREAM_BASE_IMPL": "YES",
}
"""GDAL's options for files that nobody vouches for."""


def restrict_gdal() -> None:
    """Unload all vector drivers but `DRIVERS` from this process; set `CONFIGURATION`."""
    pyogrio.set_gdal_config_options(CONFIGURATION)
    others = [name for name in pyogrio.list_drivers() if name not in DRIVERS]
    if others:
        # GDAL reads GDAL_SKIP whenever drivers are registered, which happens at import.
        pyogrio.set_gdal_config_options({"GDAL_SKIP": ",".join(others)})
        _ogr._register_drivers()
