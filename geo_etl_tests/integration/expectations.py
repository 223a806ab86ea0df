"""What has to come out of every real file, read off the files by `independent.py` and by eye.

A file that needs a setting has two rows: without it the job refuses, and says how to go on; with
it the job loads. Where neither the specification nor the file decides, the row says what somebody
who works with such data would want, and why. Not here: how the rows are checked
(`test_real_files.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from geo_etl_tests.integration.independent import (
    Feature,
    read_csv_points,
    read_csv_wkt,
    read_geojson,
    read_geopackage,
    read_kml,
    read_shapefile,
    read_zipped_shapefile,
)

Read = Callable[[Path], list[Feature]]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A file that becomes a table. What is not counted here is 0.

    Attributes:
        read: the independent reader.
        crs: of the source: an EPSG code, or words of its WKT where it has none.
        kind: geometry type of the table.
        features: as read.
        dropped: of these, without a geometry.
        quarantined: of these, with something in its place that is none.
        reasons: words, one of which each reason in the quarantine has.
        repaired: of these, invalid for GEOS; none changes its area by more than 1 in a million.
        warnings: words, each of which one of the warnings has, whatever the case.
        silent: words that none of them has.
        optional: attributes that the table may leave out (they became the geometry).
        extra: the table may have columns that the independent reader does not look for.
        types: of columns whose type the file leaves to the reader.
        names: of the columns, in order, where making them takes some care.
    """

    file: str
    read: Read
    crs: str
    kind: str
    features: int
    spec: Mapping[str, Any] = field(default_factory=dict)
    dropped: int = 0
    quarantined: int = 0
    reasons: tuple[str, ...] = ()
    repaired: int = 0
    warnings: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    extra: bool = False
    types: Mapping[str, type] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return label(self.file, self.spec)


@dataclass(frozen=True)
class Refused:
    """A file that stops the job.

    Attributes:
        problem: words that the error says, whatever the case.
        remedy: words that its way out says; '' for any way out.
    """

    file: str
    problem: str
    remedy: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return label(self.file, self.spec)


def label(file: str, spec: Mapping[str, Any]) -> str:
    """Name of a row's test."""
    settings: dict[str, Any] = {}
    for key, value in spec.items():
        settings.update(value if isinstance(value, dict) else {key: value})
    return "-".join([file.rpartition("/")[2], *map(str, settings.values())])


def reading(**converter_params: str) -> dict[str, Any]:
    """A spec that says how to read."""
    return {"converter_params": converter_params}


ANY = {"geometry_params": {"mixed_geometry": "any"}}
WGS84 = reading(source_crs="EPSG:4326")
NO_CRS = ("CRS", "source_crs")
"""Words of the error for a file without one, and of its remedy."""


# CSV says nothing of a CRS. What can be degrees is taken for degrees (WGS 84), and a warning says
# so: a table of longitudes and latitudes is what such files nearly always are. Numbers that can be
# no degrees stop the job: an engineer who gets metres as degrees loses a day.

AS_DEGREES = ("taken as degrees",)


def csv_points(file: str, x: str, y: str, features: int, **more: Any) -> Loaded:
    """A CSV with a coordinate in a column each. Those two may be in the table, or not."""
    delimiter = more.pop("delimiter", ",")
    by_name = (f"'{x}' and '{y}', by their names", *AS_DEGREES)
    return Loaded(
        file=file,
        read=partial(read_csv_points, x=x, y=y, delimiter=delimiter),
        features=features,
        optional=(x, y),
        crs="EPSG:4326",
        kind="MultiPoint",
        **{"warnings": by_name, **more},
    )


def csv_wkt(file: str, column: str, features: int, **more: Any) -> Loaded:
    """A CSV with a column of WKT, which the table does not have twice."""
    by_name = (f"'{column}', by its name", *AS_DEGREES)
    return Loaded(
        file=file,
        read=partial(read_csv_wkt, column=column),
        features=features,
        optional=(column,),
        **{"crs": "EPSG:4326", "warnings": by_name, **more},
    )


CSV: list[Loaded | Refused] = [
    csv_points(
        "csv/cycle_hire_xy.csv",
        "X",
        "Y",
        742,
        types={"id": int, "nbikes": int, "nempty": int, "name": str},
    ),
    csv_wkt(
        "csv/delimited_wkt.csv",
        "wkt",
        5,
        kind="MultiPoint",
        dropped=1,
        types={"pk": int, "cnt": int, "name2": str, "dt": datetime, "date": date},
    ),
    csv_points("csv/mapnik/64bit_int.csv", "x", "y", 2, types={"bigint": int}),
    Refused("csv/mapnik/blank.csv", "blank", "Deliver"),
    # Empty lines are no features: every reader of CSV skips them.
    csv_points("csv/mapnik/blank_rows.csv", "x", "y", 2),
    # The only line has no geometry that can be read: an empty table is no result.
    Refused("csv/mapnik/invalid_wkt.csv", "none of its 1 features"),
    # A part of a name is no name: 'relative_latitude_error' would be one too.
    Refused("csv/mapnik/latitude_longitude_substring.csv", "usual name", "lat_name"),
    csv_points(
        "csv/mapnik/latitude_longitude_substring.csv",
        "this_is_longitude_yo",
        "this_is_latitude_yo",
        1,
        spec=reading(lat_name="this_is_latitude_yo", lon_name="this_is_longitude_yo"),
        warnings=AS_DEGREES,
    ),
    csv_points("csv/mapnik/long_lat.csv", "long", "lat", 1),
    csv_points("csv/mapnik/mac_newlines.csv", "x", "y", 1, types={"z": float}),
    csv_points("csv/mapnik/missing_header.csv", "x", "y", 1),
    # The header is cut by blanks, the line by commas: no reader can know what was meant.
    Refused("csv/mapnik/mixed_separators.csv", "one column", "lat_name"),
    Refused("csv/mapnik/no_geometry.csv", "usual name", "wkt_column"),
    # 'null' is what somebody wrote, and a text.
    csv_points(
        "csv/mapnik/nulls_and_booleans_as_strings.csv",
        "x",
        "y",
        2,
        types={"null": str, "boolean": bool},
    ),
    csv_points(
        "csv/mapnik/nypd.csv",
        "geo_longitude",
        "geo_latitude",
        2,
        spec=reading(lat_name="geo_latitude", lon_name="geo_longitude"),
        warnings=AS_DEGREES,
        types={"Precinct": str, "Phone": str, "Address": str, "City": str},
    ),
    csv_points("csv/mapnik/pipe_delimiters.csv", "x", "y", 1, delimiter="|"),
    csv_points("csv/mapnik/semicolon_delimiters.csv", "x", "y", 1, delimiter=";"),
    csv_points("csv/mapnik/tabs.tsv", "x", "y", 2, delimiter="\t"),
    csv_points(
        "csv/mapnik/unicode.tsv",
        "longitude",
        "latitude",
        10,
        delimiter="\t",
        types={"geonameid": int, "population": int, "alternatenames": str, "admin2": str},
    ),
    Refused("csv/mapnik/wkt.csv", "mixes kinds of geometry", "mixed_geometry"),
    csv_wkt("csv/mapnik/wkt.csv", "WKT", 9, kind="Geometry", spec=ANY),
    csv_points("csv/mapnik/x_y.csv", "x", "y", 1),
    csv_points("csv/rg_cities1000.csv", "lon", "lat", 144_563, types={"name": str, "cc": str}),
    Refused("csv/roads.csv", *NO_CRS),
    csv_wkt(
        "csv/roads.csv",
        "WKT",
        852,
        crs="EPSG:3857",
        kind="MultiLineString",
        spec=reading(source_crs="EPSG:3857"),
        warnings=("'WKT', by its name",),
        types={"fid": int, "z_order": int, "type": str},
    ),
    # Degrees, minutes and seconds are coordinates. A longitude that says north is none: who knows
    # whether the letter or the column is wrong? Neither is one with 65 minutes.
    csv_points(
        "csv/testdms.csv",
        "lon",
        "lat",
        24,
        quarantined=14,
        reasons=("no longitude", "60 or more minutes", "no coordinate"),
    ),
    csv_wkt(
        "csv/world_wkt.csv",
        "WKT",
        177,
        kind="MultiPolygon",
        repaired=1,
        types={"pop": int, "area_km2": float, "iso_a2": str},
    ),
    # What the spec says is no guess: there is nothing to warn of.
    csv_wkt(
        "csv/world_wkt.csv",
        "WKT",
        177,
        kind="MultiPolygon",
        spec=WGS84,
        repaired=1,
        warnings=("'WKT', by its name",),
        silent=AS_DEGREES,
    ),
]


# GeoJSON. Its CRS is WGS 84 (RFC 7946) unless an old `crs` member says otherwise.


def geojson(file: str, kind: str, features: int, **more: Any) -> Loaded:
    """A GeoJSON file."""
    return Loaded(
        file=f"geojson/{file}",
        read=read_geojson,
        kind=kind,
        features=features,
        **{"crs": "EPSG:4326", **more},
    )


GEOJSON: list[Loaded | Refused] = [
    geojson("colorado-counties.geojson", "MultiPolygon", 64),
    geojson("complexfields.geo.json", "MultiPoint", 1),
    geojson("cycle_hire.geojson", "MultiPoint", 742),
    geojson("earthquakes.geojson", "MultiPoint", 6107, warnings=("Z",), types={"time": int}),
    Refused("geojson/empty_featurecollection.json", "no features"),
    geojson("escaped.geojson", "MultiPoint", 1),
    Refused("geojson/featurecollection.json", "mixes kinds of geometry", "mixed_geometry"),
    geojson("featurecollection.json", "Geometry", 3, spec=ANY),
    geojson("geometrycollection.json", "GeometryCollection", 1),
    # Its features have ids of their own beside their properties; ogr2ogr makes no column of them.
    geojson("kurdish.geojson", "MultiPolygon", 2, optional=("id",)),
    geojson("landuse.geojson", "MultiPolygon", 1, repaired=1, warnings=("repair",)),
    geojson("null_geom.geojson", "MultiLineString", 2, dropped=1),
    Refused("geojson/nullisland.json", "mixes kinds of geometry", "mixed_geometry"),
    geojson("nullisland.json", "Geometry", 13, spec=ANY),
    geojson("point.json", "MultiPoint", 1),
    geojson("sherlock.json", "MultiPoint", 1),
    geojson(
        "us_regions.geojson",
        "MultiPolygon",
        4,
        crs="EPSG:4269",
        types={"ALAND": int, "AWATER": int, "GEOID": str},
        names=("regionce", "affgeoid", "geoid", "name", "lsad", "aland", "awater"),
    ),
]


# GeoPackage


def gpkg(file: str, layer: str, crs: str, kind: str, features: int, **more: Any) -> Loaded:
    """A layer of a GeoPackage; its ids are a column."""
    return Loaded(
        file=f"gpkg/{file}",
        read=partial(read_geopackage, layer=layer),
        crs=crs,
        kind=kind,
        features=features,
        **more,
    )


def layer_of(name: str) -> dict[str, Any]:
    """A spec that names a layer."""
    return reading(layer_name=name)


UTM17N = reading(source_crs="EPSG:32617")
"""For the file whose CRS is undefined: its coordinates look like UTM, the zone is nowhere."""

GPKG: list[Loaded | Refused] = [
    Refused("gpkg/bubenec.gpkg", "4 layers", "'tessellation', 'buildings', 'streets', 'plots'"),
    gpkg(
        "bubenec.gpkg",
        "tessellation",
        "EPSG:3857",
        "MultiPolygon",
        144,
        spec=layer_of("tessellation"),
        types={"uID": float},
    ),
    gpkg(
        "bubenec.gpkg",
        "buildings",
        "EPSG:3857",
        "MultiPolygon",
        144,
        spec=layer_of("buildings"),
        types={"uID": int},
    ),
    gpkg("bubenec.gpkg", "streets", "EPSG:3857", "MultiLineString", 35, spec=layer_of("streets")),
    gpkg("bubenec.gpkg", "plots", "EPSG:3857", "MultiPolygon", 407, spec=layer_of("plots")),
    gpkg(
        "bug_21100-wierd_field_names.gpkg",
        "prova2",
        "EPSG:4326",
        "MultiPoint",
        3,
        names=("fid", "campo_d", "campo_e", "campo_f"),
    ),
    # Curves by their type, without one arc: every vertex stays, and nothing is approximated.
    gpkg(
        "curve.gpkg",
        "curve",
        "EPSG:4326",
        "MultiLineString",
        1,
        silent=("approximated",),
    ),
    gpkg(
        "curvepolygon.gpkg",
        "curvepolygon",
        "EPSG:4326",
        "MultiPolygon",
        1,
        silent=("approximated",),
    ),
    Refused(
        "gpkg/geopackage.gpkg",
        "3 layers",
        "'geopackage', 'check_constraint', 'unique_not_null_constraints'",
    ),
    gpkg(
        "geopackage.gpkg",
        "geopackage",
        "EPSG:4326",
        "MultiPoint",
        5,
        spec=layer_of("geopackage"),
        dropped=1,
    ),
    gpkg(
        "geopackage.gpkg",
        "check_constraint",
        "EPSG:4326",
        "MultiPoint",
        2,
        spec=layer_of("check_constraint"),
    ),
    Refused("gpkg/geopackage.gpkg", "no features", spec=layer_of("unique_not_null_constraints")),
    gpkg("invalid.gpkg", "INVALID LAYER_name", "EPSG:32632", "MultiPoint", 146),
    gpkg("line_zm.gpkg", "line_zm", "EPSG:4326", "MultiLineString", 1, warnings=("Z or M",)),
    gpkg(
        "nc.gpkg",
        "nc.gpkg",
        "EPSG:4267",
        "MultiPolygon",
        100,
        names=("fid", "area", "perimeter", "cnty_", "cnty_id", "name", "fips", "fipsno")
        + ("cress_id", "bir74", "sid74", "nwbir74", "bir79", "sid79", "nwbir79"),
    ),
    gpkg("test_gpkg_nulls.gpkg", "test_gpkg_nulls", "EPSG:4326", "MultiPoint", 4),
    # SRS 0 is 'undefined geographic' (OGC 12-128r18, requirement 11): no CRS at all.
    Refused("gpkg/test_json.gpkg", *NO_CRS),
    gpkg(
        "test_json.gpkg",
        "foo",
        "EPSG:32617",
        "MultiPolygon",
        10,
        spec=UTM17N,
        types={"json_content": dict, "PRFEDEA": str},
    ),
]


# KML and KMZ. A feature is a Placemark. Overlays are pictures in a place, and network links lead
# out of the file: neither is a feature.


def kml(file: str, kind: str, features: int, member: str | None = None, **more: Any) -> Loaded:
    """A KML file, or document `member` of a KMZ; what else a Placemark has may be columns too."""
    return Loaded(
        file=f"kml/{file}",
        read=partial(read_kml, member=member),
        crs="EPSG:4326",
        kind=kind,
        features=features,
        extra=True,
        **more,
    )


KML: list[Loaded | Refused] = [
    Refused("kml/100_nested_folders.kml", "no Placemark", "Deliver"),
    Refused("kml/extendeddata.kml", "none of its 1 features has a geometry"),
    # Its document has network links only; what else is in the archive is not what it shows.
    Refused("kml/hier.kmz", "links are never followed", "'within.kml'"),
    kml("points-puntas.kmz", "MultiPoint", 11, "doc.kml"),
    # Each state is a MultiGeometry of a point (its label) and polygons: one kind, collections.
    kml("polygons2d.kml", "GeometryCollection", 50),
    Refused("kml/samples.kml", "mixes kinds of geometry", "mixed_geometry"),
    kml("samples.kml", "Geometry", 20, spec=ANY, dropped=1, warnings=("Z",)),
    kml("schemadata.kml", "MultiPoint", 1, types={"sfield1": str, "sfield2": int}),
    # Polygons, and MultiGeometries of polygons: these are MultiPolygons by another name.
    kml("states.kml", "MultiPolygon", 8, repaired=3),
]


# Shapefiles. Text is in the encoding that .cpg or the language byte says. A language byte of
# 0x57 says 'ANSI', which GDAL writes by default and QGIS wrote beside UTF-8: text that is UTF-8 to
# the last byte, and more than ASCII, is UTF-8, and a warning says so. Without a word on the
# encoding, text that is not UTF-8 either is what ESRI's own programs take it for on most desktops,
# Windows-1252, with a warning: it can be read, and nothing is lost by it.


def shp(file: str, crs: str, kind: str, features: int, **more: Any) -> Loaded:
    """A loose shapefile."""
    encoding = more.pop("encoding", "ascii")
    return Loaded(
        file=f"shp-loose/{file}.shp",
        read=partial(read_shapefile, encoding=encoding),
        crs=crs,
        kind=kind,
        features=features,
        **more,
    )


def zipped(file: str, member: str, crs: str, kind: str, features: int, **more: Any) -> Loaded:
    """A shapefile in an archive."""
    encoding = more.pop("encoding", "ascii")
    return Loaded(
        file=f"shp-zip/{file}",
        read=partial(read_zipped_shapefile, encoding=encoding, member=member),
        crs=crs,
        kind=kind,
        features=features,
        **more,
    )


LATIN = "iso-8859-1"

SHAPEFILES: list[Loaded | Refused] = [
    Refused("shp-loose/10740/10740.shp", *NO_CRS),
    shp("10740/10740", "EPSG:4326", "MultiPolygon", 195, spec=WGS84, types={"STFID": str}),
    shp("boxes_with_date/boxes_with_date", "EPSG:4326", "MultiPolygon", 100),
    Refused("shp-loose/empty_spatial_layer/empty_spatial_layer.shp", "no features"),
    shp(
        "farsi-labels/farsi-labels",
        "EPSG:4326",
        "MultiPoint",
        10,
        encoding="utf-8",
        warnings=("UTF-8",),
    ),
    shp(
        "farsi-labels/farsi-labels",
        "EPSG:4326",
        "MultiPoint",
        10,
        encoding="utf-8",
        spec=reading(encoding="UTF-8"),
    ),
    shp("iso-8859-1_ldid/iso-8859-1_ldid", "EPSG:4326", "MultiPoint", 1, encoding=LATIN),
    shp("mn_counties/mn_counties", "EPSG:26915", "MultiPolygon", 117),
    shp(
        "naturalearth_cities/naturalearth_cities",
        "EPSG:4326",
        "MultiPoint",
        243,
        encoding=LATIN,
    ),
    shp(
        "naturalearth_lowres/naturalearth_lowres",
        "EPSG:4326",
        "MultiPolygon",
        177,
        encoding=LATIN,
    ),
    shp("nc/nc", "EPSG:4267", "MultiPolygon", 100),
    # Which bytes are whose is in the .shp itself: an index can be made again.
    shp(
        "nz_pa_points_no_shx/nz_pa_points_topo_150k",
        "EPSG:4326",
        "MultiPoint",
        2143,
        warnings=(".shx",),
    ),
    shp("olinda1/olinda1", "GRS 1980", "MultiPolygon", 470, encoding="cp1252"),
    Refused("shp-loose/point_null_point/point_null_point.shp", *NO_CRS),
    # (50, 100) is no place in degrees; metres will do.
    shp(
        "point_null_point/point_null_point",
        "EPSG:3857",
        "MultiPoint",
        3,
        spec=reading(source_crs="EPSG:3857"),
        dropped=1,
    ),
    Refused("shp-loose/points_epsg2249_no_prj/points_epsg2249_no_prj.shp", *NO_CRS),
    shp(
        "points_epsg2249_no_prj/points_epsg2249_no_prj",
        "EPSG:2249",
        "MultiPoint",
        73,
        encoding="utf-8",
        spec=reading(source_crs="EPSG:2249"),
        warnings=("UTF-8",),
    ),
    shp(
        "polygon_zm/polygon_zm",
        "EPSG:3857",
        "MultiPolygon",
        2,
        encoding="utf-8",
        warnings=("Z or M",),
    ),
    shp("polyline_m/polyline_m", "EPSG:3857", "MultiLineString", 2),
    Refused("shp-loose/popplaces/popplaces.shp", *NO_CRS),
    shp(
        "popplaces/popplaces",
        "EPSG:3978",
        "MultiPoint",
        192,
        encoding="utf-8",
        spec=reading(source_crs="EPSG:3978"),
    ),
    shp(
        "QB_Toulouse_ortho/QB_Toulouse_ortho",
        "EPSG:32631",
        "MultiPolygon",
        551,
        repaired=37,
        warnings=("repair",),
    ),
    shp(
        "san_andres_location/san_andres_y_providencia_location",
        "EPSG:4326",
        "MultiPoint",
        95,
        encoding="utf-8",
        names=("name", "place", "addr_city", "addr_house", "addr_flats", "addr_postc"),
    ),
    shp("scot_BNG/scot_BNG", "EPSG:27700", "MultiPolygon", 56),
    Refused("shp-loose/storms_xyz_feature/storms_xyz_feature.shp", *NO_CRS),
    shp(
        "storms_xyz_feature/storms_xyz_feature",
        "EPSG:4326",
        "MultiLineString",
        71,
        spec=WGS84,
        warnings=("Z or M",),
    ),
    shp(
        "system_encoding/system_encoding",
        "EPSG:4326",
        "MultiPoint",
        1,
        encoding="cp1252",
        warnings=("Windows-1252", "'id'"),
    ),
    shp(
        "system_encoding/system_encoding",
        "EPSG:4326",
        "MultiPoint",
        1,
        encoding="cp1252",
        spec=reading(encoding="cp1252"),
    ),
    shp("test_852/test_852", "EPSG:32633", "MultiPoint", 1, encoding="cp852"),
    shp(
        "testlayer_3857/testlayer_3857",
        "EPSG:3857",
        "MultiPoint",
        3,
        encoding="utf-8",
        names=("id", "name", "utf8nameè"),
    ),
    shp("tokyomet262/tokyomet262", "EPSG:30166", "MultiPolygon", 262, repaired=10),
    Refused("shp-zip/blockgroups_multishapefile.zip", "2 layers", "'blockgroups', 'blockgroups2'"),
    Refused("shp-zip/blockgroups_multishapefile.zip", *NO_CRS, spec=layer_of("blockgroups")),
    *(
        zipped(
            "blockgroups_multishapefile.zip",
            layer,
            "EPSG:4269",
            "MultiPolygon",
            663,
            spec=reading(layer_name=layer, source_crs="EPSG:4269"),
        )
        for layer in ("blockgroups", "blockgroups2")
    ),
    # Other formats beside the shapefile are the same data once more; the shapefile is the layer.
    zipped("cities.zip", "cities", "EPSG:4326", "MultiPoint", 1249, encoding="utf-8"),
    zipped(
        "nybb_16a.zip",
        "nybb",
        "EPSG:2263",
        "MultiPolygon",
        5,
        names=("boro_code", "boro_name", "shape_leng", "shape_area"),
    ),
    zipped("poi.zip", "poi", "EPSG:3404", "MultiPoint", 17, warnings=("Z or M",)),
    zipped("prenzlauer.zip", "prenzlauer", "EPSG:3857", "MultiPoint", 2203, encoding=LATIN),
    zipped("REL.zip", "REL/releaseArea20090407", "EPSG:31287", "MultiPolygon", 1),
    zipped("sids2.zip", "sids2/sids2", "EPSG:4326", "MultiPolygon", 100),
]


CORRUPT: list[Loaded | Refused] = [
    Refused("corrupt/bad.kmz", "not KMZ", "Deliver"),
    Refused("corrupt/corrupt_too_long/corrupt_too_long.shp", *NO_CRS),
    # Every record is whole; what stands behind the last one is not asked for.
    Loaded(
        file="corrupt/corrupt_too_long/corrupt_too_long.shp",
        read=partial(read_shapefile, encoding="ascii"),
        crs="EPSG:4326",
        kind="MultiLineString",
        features=10,
        spec=WGS84,
    ),
    # 'Featur' is no type of GeoJSON; a reader that guesses here guesses elsewhere.
    Refused("corrupt/feature-malformed-1.json", "'Featur'", "Deliver"),
    Refused("corrupt/invalid.geojson", "GeoJSON", "Deliver"),
    Refused("corrupt/points-malformed.geojson", "line 34", "Deliver"),
]

ROWS = [*CSV, *GEOJSON, *GPKG, *KML, *SHAPEFILES, *CORRUPT]
LOADED = [row for row in ROWS if isinstance(row, Loaded)]
REFUSED = [row for row in ROWS if isinstance(row, Refused)]
