"""What readers see of tables that were just published: in the database, and from the servers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import shapely

from geo_etl.assets.serving_probes import StacServed, probe_stac, undisturbed
from geo_etl.resources.postgis import PostGISResource, Shown
from geo_etl.resources.probes import FeaturesProbe, Probe, Prober
from geo_etl.resources.serving import ServingResource
from geo_etl.vector.versions import Target


@dataclass(frozen=True)
class TableServed:
    """What OGC API Features gives of one table.

    Attributes:
        geometry: of the first feature, in degrees; None: it has none that can be read.
        tile: a vector tile of it; None: there is no place to look at.
    """

    features: FeaturesProbe
    geometry: shapely.Geometry | None
    tile: Probe | None


def probe_table(prober: Prober, table: str) -> TableServed | None:
    """Ask for a table's first feature and for a tile around it; None without a server."""
    features = prober.table(table)
    if features is None:
        return None
    geometry = _geometry(features.first)
    if geometry is None:
        return TableServed(features, None, None)
    # Parts far from each other would be seen from so far away that none is drawn.
    largest = max(shapely.get_parts(geometry), key=lambda part: (part.area, part.length))
    point = largest.representative_point()
    tile = None
    if -180 <= point.x <= 180:  # maps go no further
        tile = prober.table_tile(table, largest.bounds, (point.x, point.y))
    return TableServed(features, geometry, tile)


def _geometry(feature: dict[str, Any] | None) -> shapely.Geometry | None:
    try:
        found = shapely.from_geojson(json.dumps((feature or {}).get("geometry")))
    except shapely.errors.ShapelyError:
        return None
    return None if found is None or found.is_empty else found


@dataclass(frozen=True)
class TablesSeen:
    """What readers see of tables, by `schema.table`.

    Attributes:
        served: None each without a server.
    """

    stored: dict[str, Shown]
    served: dict[str, TableServed | None]
    stac: StacServed | None


def see_tables(
    tables: Sequence[str], postgis: PostGISResource, serving: ServingResource
) -> TablesSeen:
    """Look at tables from all sides, at one version of each."""
    targets = {table: Target.parse(table) for table in tables}
    with serving.prober() as prober:

        def look() -> TablesSeen:
            stored = {table: postgis.shown(target) for table, target in targets.items()}
            served = {table: probe_table(prober, table) for table in tables}
            written = [one.version.item for one in stored.values() if one.version is not None]
            return TablesSeen(stored, served, probe_stac(prober, written, len(written)))

        return undisturbed(look, lambda: postgis.current_numbers(targets.values()))
