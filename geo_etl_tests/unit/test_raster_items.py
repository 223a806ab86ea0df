"""STAC items and collections of rasters: valid, true, and what a tile server needs."""

import hashlib
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from shapely.geometry import box, shape

from geo_etl.catalog.bands import resolution_metres
from geo_etl.catalog.raster_collections import (
    CollectionFacts,
    archive_file,
    mosaic_file,
    open_raster_collection,
    raster_collection,
    thumbnail_file,
)
from geo_etl.catalog.rasters import RasterItemFacts, raster_item
from geo_etl.catalog.validate import validate
from geo_etl.errors import CatalogueError
from geo_etl.raster.facts import Band, Grid, Histogram, Statistics
from geo_etl.raster.manifest import Made
from geo_etl.spec import Metadata, Tier
from geo_etl_tests.independent_grids import CUSTOM, FIJI, MARS, NORTH, UTM
from geo_etl_tests.raster_facts import (
    CONTENT,
    CREATED,
    DEGREES,
    HEIGHTS,
    MODIFIED,
    PROVEN,
    band,
    facts,
    item_facts,
    made,
    order,
    profile,
)

BYTES = Statistics(9_000, 0.0, 255.0, 100.0, 50.0, None)
EMPTY = Statistics(0)
RGB = tuple(
    band(i, dtype="uint8", color=color, nodata=None, unit=None, statistics=BYTES)
    for i, color in enumerate(("red", "green", "blue"), 1)
)
RGBA = (*RGB, band(4, dtype="uint8", color="alpha", nodata=None, unit=None, statistics=BYTES))
PALETTE = ((0, (0, 0, 0, 255)), (1, (255, 0, 0, 255)))


def pictures(bands: tuple[Band, ...], tier: Tier = "visualization", **changes: Any) -> Made:
    """A file of 8-bit colours."""
    written = {
        "dtype": "uint8",
        "nodata": None,
        "bands": tuple(one.index for one in bands),
        "validity": "alpha" if any(one.color == "alpha" for one in bands) else "mask",
        **changes,
    }
    return made(tier, profile=profile(tier, **written), statistics=(BYTES,) * 3)


def image(bands: tuple[Band, ...] = RGB, *files: Made, **changes: Any) -> RasterItemFacts:
    source = facts(bands=bands, kind="imagery", nodata=None, nodata_from=None, **changes)
    return item_facts(*files, facts=source)


def classes(*files: Made, spec: dict[str, Any] | None = None, **changes: Any) -> RasterItemFacts:
    one = band(dtype="uint8", nodata=None, unit=None, statistics=replace(BYTES, maximum=7.0))
    source = facts(bands=(replace(one, **changes),), kind="classes")
    return item_facts(*files, facts=source, order=order(**(spec or {})))


COMPLEX = facts(bands=(band(dtype="complex_int16", statistics=EMPTY, unit=None),))
CASES = {
    "three tiers": item_facts(made(), made("archive", UTM), made("visualization")),
    "tile": item_facts(tile=(3, 4)),
    "archive alone": item_facts(made("archive", UTM)),
    "antimeridian": item_facts(made(grid=FIJI)),
    "pole": item_facts(made(grid=NORTH)),
    "mars": item_facts(made(grid=MARS)),
    "custom CRS": item_facts(made(grid=CUSTOM)),
    "two CRS, one custom": item_facts(made(), made("archive", CUSTOM)),
    "ESRI code": item_facts(made(grid=replace(UTM, crs="ESRI:102039"))),
    "NaN nodata": item_facts(made(profile=profile(nodata=math.nan))),
    "image": image(RGB, pictures(RGB)),
    "image with alpha": image(RGBA, pictures(RGBA), pictures(RGBA, "analysis")),
    "palette as picture": classes(pictures((band(),)), colormap=PALETTE),
    "palette": classes(colormap=PALETTE),
    "classes": classes(),
    "complex": item_facts(
        made(profile=profile(dtype="complex_int16", nodata=None), statistics=(EMPTY,)),
        facts=COMPLEX,
    ),
    "no statistics": item_facts(
        made(statistics=(EMPTY,)), facts=facts(bands=(band(statistics=EMPTY),))
    ),
    "lossy": item_facts(made(proof=replace(PROVEN, psnr_db=40.0, max_error=9.0))),
    "nothing beside": item_facts(preview_href=None, report_href=None, tiles_url=None, software={}),
    "described": item_facts(
        order=order(
            metadata={"title": "T", "description": "D", "license": "CC0-1.0", "provider": "P"}
        )
    ),
    "a set of files as source": item_facts(order=replace(order(), fingerprint="several")),
}


def item(name: str = "three tiers", **changes: Any) -> dict[str, Any]:
    return raster_item(replace(CASES[name], **changes))


def bands_of(name: str, tier: Tier = "analysis") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = item(name)["assets"][tier]["bands"]
    return found


# Validity


@pytest.mark.parametrize("name", CASES)
def test_an_item_validates(name: str) -> None:
    validate(item(name))


@settings(max_examples=30)
@given(
    names=st.lists(st.text(min_size=1), min_size=1, max_size=4),
    low=st.floats(-1e300, 1e300),
    high=st.floats(allow_nan=False),
    nodata=st.one_of(st.none(), st.floats()),
    counts=st.lists(st.integers(0, 10**12), max_size=5),
)
def test_an_item_validates_whatever_the_values(
    names: list[str], low: float, high: float, nodata: float | None, counts: list[int]
) -> None:
    values = Statistics(5, low, high, 1.0, math.inf, Histogram(0.0, 1.0, tuple(counts)))
    bands = tuple(band(i, name=name, statistics=values) for i, name in enumerate(names, 1))
    written = profile(nodata=nodata, bands=tuple(one.index for one in bands))
    file = made(profile=written, statistics=(values,) * len(bands))
    document = raster_item(item_facts(file, facts=facts(bands=bands)))
    validate(document)
    described = document["assets"]["analysis"]["bands"]
    assert len({one["name"] for one in described}) == len(bands)


@pytest.mark.parametrize(
    ("extension", "path"),
    [
        ("raster", ("assets", "analysis", "bands", 0, "raster:histogram", "count")),
        ("raster", ("assets", "analysis", "bands", 0, "raster:spatial_resolution")),
        ("render", ("properties", "renders", "default", "assets")),
        ("projection", ("assets", "analysis", "proj:shape")),
        ("file", ("assets", "analysis", "file:checksum")),
    ],
)
def test_a_wrong_field_of_an_extension_is_named(extension: str, path: tuple[Any, ...]) -> None:
    document: Any = item()
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = "no such thing"
    with pytest.raises(CatalogueError, match=f"stac-extensions.github.io/{extension}/"):
        validate(document)


@pytest.mark.parametrize("field", ["eo:common_name", "eo:no_such_field"])
def test_a_wrong_name_of_a_band_is_refused(field: str) -> None:
    document = item("image")
    document["assets"]["visualization"]["bands"][0][field] = "pink"
    with pytest.raises(CatalogueError, match=r"stac-extensions.github.io/eo/"):
        validate(document)


# Place


def test_geometry_is_round_the_valid_pixels_of_the_file() -> None:
    valid = box(5.2, 50.2, 5.4, 50.4)
    document = item(files=item_facts(made(footprint=valid.wkb)).files)
    assert shape(document["geometry"]).equals(valid)
    assert document["bbox"] == pytest.approx(valid.bounds)


def test_on_mars_the_body_is_named_and_nothing_is_linked_to_tiles_of_the_earth() -> None:
    document = item("mars")
    assert document["properties"]["ssys:targets"] == ["Mars"]
    assert {link["rel"] for link in document["links"]} == {"collection"}


def test_projection_is_of_each_file() -> None:
    assets = item()["assets"]
    assert assets["analysis"]["proj:code"] == "EPSG:4326"
    assert assets["analysis"]["proj:shape"] == [DEGREES.height, DEGREES.width]
    assert assets["archive"]["proj:code"] == "EPSG:32632"
    assert Affine(*assets["archive"]["proj:transform"]) == UTM.transform
    assert assets["archive"]["proj:bbox"] == [500_000, 4_999_000, 501_000, 5_000_000]


def test_a_crs_without_code_is_written_as_wkt() -> None:
    document = item("custom CRS")
    assert "proj:code" not in document["properties"]
    assert "LAMBERT AZIMUTHAL" in document["properties"]["proj:wkt2"].upper().replace("_", " ")


def test_no_file_without_a_code_can_be_taken_for_one_with_the_items() -> None:
    document = item("two CRS, one custom")
    assert not [key for key in document["properties"] if key.startswith("proj:")]
    assert document["assets"]["analysis"]["proj:code"] == "EPSG:4326"
    assert "proj:wkt2" in document["assets"]["archive"]


@pytest.mark.parametrize(
    ("grid", "metres"),
    [
        pytest.param(UTM, 10.0, id="metres"),
        pytest.param(replace(UTM, crs="EPSG:2263"), 10 * 1200 / 3937, id="US survey feet"),
        pytest.param(
            replace(UTM, transform=Affine(3, -4, 5e5, 4, 3, 5e6)), 5.0, id="rotated, 3-4-5"
        ),
        pytest.param(
            Grid("EPSG:4326", Affine(0.01, 0, 5, 0, -0.01, 0.5), 100, 100),
            # On the equator: the square root of a degree east by a degree north.
            math.sqrt(
                Geod(ellps="WGS84").inv(5, 0, 5.01, 0)[2]
                * Geod(ellps="WGS84").inv(5, -0.005, 5, 0.005)[2]
            ),
            id="degrees",
        ),
    ],
)
def test_resolution_is_in_metres(grid: Grid, metres: float) -> None:
    assert resolution_metres(grid) == pytest.approx(metres, rel=1e-5)


# Time


def test_the_spec_tells_the_time() -> None:
    asked = order(datetime="1999-12-31T00:00:00Z")
    source = facts(acquired="2001-01-01T00:00:00+00:00", acquired_from="TIFFTAG_DATETIME")
    properties = item(order=asked, facts=source)["properties"]
    assert properties["datetime"] == "1999-12-31T00:00:00Z"
    assert properties["geo_etl:datetime_from"] == "the spec"


def test_else_a_tag_tells_the_time() -> None:
    source = facts(acquired="2001-01-01T02:00:00+02:00", acquired_from="TIFFTAG_DATETIME")
    properties = item(facts=source)["properties"]
    assert properties["datetime"] == "2001-01-01T00:00:00Z"
    assert properties["geo_etl:datetime_from"] == "tag TIFFTAG_DATETIME"


def test_a_tag_tells_the_time_from_the_first_to_the_last() -> None:
    source = facts(
        acquired="2001-01-01T00:00:00Z",
        acquired_until="2002-01-01T00:00:00Z",
        acquired_from="time",
    )
    document = raster_item(item_facts(facts=source))
    properties = document["properties"]
    assert properties["datetime"] == properties["start_datetime"] == "2001-01-01T00:00:00Z"
    assert properties["end_datetime"] == "2002-01-01T00:00:00Z"
    validate(document)
    given = item_facts(facts=source, order=order(datetime="2020-01-01T00:00:00Z"))
    assert "end_datetime" not in raster_item(given)["properties"]
    of_set = collection(document)["extent"]["temporal"]["interval"]
    assert of_set == [["2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z"]]


def test_else_it_is_when_the_source_was_written() -> None:
    properties = item()["properties"]
    assert datetime.fromisoformat(properties["datetime"]) == MODIFIED
    assert "modification time" in properties["geo_etl:datetime_from"]


# Files


def test_every_tier_is_an_asset_with_its_role() -> None:
    assets = item()["assets"]
    roles = {tier: assets[tier]["roles"] for tier in get_args(Tier)}
    assert roles == {
        "visualization": ["visual"],
        "analysis": ["data"],
        "archive": ["data", "archive"],
    }
    assert {assets[tier]["type"] for tier in roles} == {
        "image/tiff; application=geotiff; profile=cloud-optimized"
    }


def test_a_file_has_size_checksum_and_cost() -> None:
    asset = item()["assets"]["analysis"]
    assert asset["file:size"] == len(CONTENT)
    assert asset["file:checksum"] == "1220" + hashlib.sha256(CONTENT).hexdigest()
    assert asset["geo_etl:monthly_cost_usd"] == 0.25


def test_a_tile_server_does_not_take_the_source_for_a_raster_of_its_own() -> None:
    from rio_tiler.io.stac import DEFAULT_VALID_TYPE

    source = item()["assets"]["source"]
    assert source["type"] not in DEFAULT_VALID_TYPE


def test_lineage_names_source_hash_job_and_how_each_file_was_made() -> None:
    lineage = item()["properties"]["processing:lineage"]
    for part in ("bronze/a b/höhe.tif", order().fingerprint, order().job_id, "EPSG:32632"):
        assert part in lineage
    assert "analysis: reprojected to EPSG:4326 (bilinear)" in lineage
    assert "archive: on the source's grid" in lineage


def test_narrowing_is_said() -> None:
    narrow = item_facts(made(profile=profile(dtype="uint8")))
    assert raster_item(narrow)["properties"]["geo_etl:narrowed_from"] == "float32"
    assert "geo_etl:narrowed_from" not in item()["properties"]


# Bands


def test_a_band_says_type_nodata_unit_and_statistics() -> None:
    (described,) = bands_of("three tiers")
    assert (described["data_type"], described["nodata"], described["unit"]) == (
        "float32",
        -9999.0,
        "m",
    )
    assert described["statistics"] == {
        "minimum": 100.0,
        "maximum": 500.0,
        "mean": 200.0,
        "stddev": 30.0,
        "valid_percent": 90.0,
    }
    assert described["raster:histogram"]["buckets"] == [9, 8_900, 50, 41]


def test_nodata_that_json_has_not_is_a_word() -> None:
    assert bands_of("NaN nodata")[0]["nodata"] == "nan"


def test_bands_have_the_names_of_the_spec_first() -> None:
    named = image(RGBA, pictures(RGBA, "analysis"))
    document = raster_item(replace(named, order=order(band_names=["R", "G"])))
    bands = document["assets"]["analysis"]["bands"]
    assert [one["name"] for one in bands] == ["R", "G", "blue", "alpha"]
    assert [one.get("eo:common_name") for one in bands] == ["red", "green", "blue", None]


def test_alpha_is_a_band_in_its_place_without_statistics() -> None:
    argb = (replace(RGBA[3], index=1), *(replace(one, index=one.index + 1) for one in RGB))
    bands = raster_item(image(argb, pictures(argb, "analysis")))["assets"]["analysis"]["bands"]
    assert [one["name"] for one in bands] == ["alpha", "red", "green", "blue"]
    assert ["statistics" in one for one in bands] == [False, True, True, True]


def test_a_picture_of_one_band_has_colours_that_are_no_light() -> None:
    bands = bands_of("palette as picture", "visualization")
    assert [one["name"] for one in bands] == ["red", "green", "blue"]
    assert not any("eo:common_name" in one for one in bands)


def test_scale_and_offset_are_said_of_values_and_not_of_pictures() -> None:
    scaled = tuple(replace(one, scale=0.1, offset=5.0) for one in RGB)
    assets = raster_item(image(scaled, pictures(scaled), pictures(scaled, "analysis")))["assets"]
    kept, shown = assets["analysis"]["bands"][0], assets["visualization"]["bands"][0]
    assert (kept["raster:scale"], kept["raster:offset"]) == (0.1, 5.0)
    assert "raster:scale" not in shown


# Rendering


def render(name: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = item(name, **changes)["properties"]["renders"]["default"]
    return found


def test_the_visualization_is_shown_as_it_is() -> None:
    shown = render("three tiers")
    assert shown["assets"] == ["visualization"]
    assert "rescale" not in shown


def test_heights_are_stretched_between_percentiles_in_colours() -> None:
    # Of 9,000 pixels 180 may be cut off at either end: bucket 1 has 9, the last two 91.
    shown = render("tile")
    assert shown["rescale"] == [[200.0, 300.0]]
    assert shown["colormap_name"] == "viridis"


def test_the_spec_says_how_to_show() -> None:
    asked = order(render_params={"rescale": [[0, 10]], "colormap_name": "RdYlGn"})
    shown = render("tile", order=asked)
    assert shown["rescale"] == [[0.0, 10.0]]
    # titiler knows matplotlib's names in lower case.
    assert shown["colormap_name"] == "rdylgn"


def test_bands_are_chosen_by_their_place_in_the_file() -> None:
    many = tuple(replace(one, index=one.index + 1) for one in RGB)
    nir = band(1, dtype="uint8", color="undefined", nodata=None, unit=None, statistics=BYTES)
    file = pictures((nir, *many), "analysis", validity="none")
    shown = raster_item(image((nir, *many), replace(file, statistics=(BYTES,) * 4)))
    found = shown["properties"]["renders"]["default"]
    assert found["bidx"] == [2, 3, 4]
    assert found["asset_bidx"] == ["analysis|2,3,4"]


def test_bands_in_the_order_of_a_file_are_not_taken_for_red_green_and_blue() -> None:
    bgr = tuple(
        replace(one, color=color) for one, color in zip(RGB, ("blue", "green", "red"), strict=True)
    )
    shown = raster_item(image(bgr, pictures(bgr, "analysis", validity="none")))
    assert shown["properties"]["renders"]["default"]["asset_bidx"] == ["analysis|3,2,1"]


def test_a_palette_is_left_to_the_file() -> None:
    shown = render("palette")
    assert {"rescale", "colormap_name"}.isdisjoint(shown)
    assert shown["resampling"] == "nearest"


def test_classes_without_palette_can_be_told_apart() -> None:
    source = classes(classes=(10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100))
    shown = raster_item(source)["properties"]["renders"]["default"]
    colours = shown["colormap"]
    assert list(colours) == ["10", "20", "30", "40", "50", "60", "70", "80", "90", "95", "100"]
    drawn = np.array(list(colours.values()), dtype=float)[:, :3]
    apart = np.abs(drawn[:, None] - drawn[None]).sum(axis=2)
    assert apart[~np.eye(len(drawn), dtype=bool)].min() > 30
    assert {"rescale", "colormap_name"}.isdisjoint(shown)


def test_one_value_alone_has_a_range() -> None:
    flat = Statistics(9_000, 3.0, 3.0, 3.0, 0.0, Histogram(3.0, 3.0, (9_000,)))
    shown = render("tile", facts=facts(bands=(band(statistics=flat),)))
    ((low, high),) = shown["rescale"]
    assert low <= 3.0 < high


def test_complex_numbers_are_not_shown() -> None:
    document = item("complex")
    assert "renders" not in document["properties"]
    assert {link["rel"] for link in document["links"]} == {"collection"}


def test_the_links_to_tiles_ask_for_the_render() -> None:
    links = {link["rel"]: link["href"] for link in item("tile")["links"]}
    assert links["xyz"].startswith(
        "http://localhost/tiles/collections/system-rasters/items/dem/tiles/WebMercatorQuad/{z}"
    )
    query = dict(parse_qsl(urlsplit(links["tilejson"]).query))
    assert query == {
        "assets": "analysis",
        "rescale": "200.0,300.0",
        "colormap_name": "viridis",
        "resampling": "bilinear",
        "tile_format": "png",
    }


def test_without_a_tile_server_nothing_is_linked_to_it() -> None:
    assert {link["rel"] for link in item("nothing beside")["links"]} == {"collection"}


# Collections


def collection(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    described = CollectionFacts("heights", "bronze/heights", items, "ab" * 32, CREATED)
    return raster_collection(replace(described, **changes))


FULL = {
    "files": [
        mosaic_file("file:///silver/mosaic.vrt"),
        archive_file("file:///silver/archive.tif", 7, "ab" * 32),
        thumbnail_file("file:///silver/preview.png"),
    ],
    "search_id": "f" * 32,
    "tiles_url": "http://localhost/tiles",
    "fingerprint": "cd" * 32,
    "about": Metadata(title="T", description="D", license="CC0-1.0", provider="P"),
}


@pytest.mark.parametrize("names", [[], ["tile"], ["tile", "antimeridian"], ["mars"], list(CASES)])
@pytest.mark.parametrize("changes", [{}, FULL], ids=["plain", "full"])
def test_a_collection_validates(names: list[str], changes: dict[str, Any]) -> None:
    validate(collection(*(item(name) for name in names), **changes))


@pytest.mark.parametrize("collection_id", ["system-rasters", "floods.2026"])
def test_an_open_collection_validates(collection_id: str) -> None:
    validate(open_raster_collection(collection_id))


def test_its_extent_is_the_union_of_its_items_across_the_antimeridian() -> None:
    east = item_facts(made(grid=Grid("EPSG:4326", Affine(1, 0, -175, 0, -1, 0), 5, 5)))
    document = collection(item("antimeridian"), raster_item(east))
    assert document["extent"]["spatial"]["bbox"] == [[176.0, -19.0, -170.0, 0.0]]


def test_its_times_are_those_of_its_items() -> None:
    later = item(order=order(datetime=datetime(2030, 1, 1, tzinfo=UTC)))
    document = collection(later, item())
    assert document["extent"]["temporal"]["interval"] == [
        ["2020-02-03T04:05:06Z", "2030-01-01T00:00:00Z"]
    ]


def test_its_summaries_are_true_of_every_item() -> None:
    document = collection(item("tile"), item("archive alone"), item("image"))
    summaries = document["summaries"]
    assert summaries["proj:code"] == ["EPSG:32632", "EPSG:4326"]
    assert summaries["geo_etl:data_kind"] == ["continuous", "imagery"]
    assert summaries["gsd"]["minimum"] == 10.0
    assert [one["name"] for one in summaries["bands"]] == ["b1", "red", "green", "blue"]
    assert not any("statistics" in one for one in summaries["bands"])


@pytest.mark.parametrize(("name", "extension"), [("tile", "projection"), ("mars", "ssys")])
def test_it_declares_the_extensions_of_what_it_summarizes(name: str, extension: str) -> None:
    declared = collection(item(name))["stac_extensions"]
    assert any(f"/{extension}/" in uri for uri in declared)


def test_a_wrong_summary_is_refused() -> None:
    document = collection(item("mars"))
    document["summaries"]["ssys:targets"] = []
    with pytest.raises(CatalogueError, match="ssys"):
        validate(document)


def test_it_describes_the_assets_of_its_items() -> None:
    document = collection(item("tile"), item("image"))
    assert set(document["item_assets"]) == {"analysis", "visualization"}


def test_its_own_files_are_assets() -> None:
    assets = collection(item("tile"), **FULL)["assets"]
    assert set(assets) == {"mosaic", "archive", "thumbnail"}
    assert assets["archive"]["file:size"] == 7


def test_its_range_of_values_holds_that_of_each_item() -> None:
    low = item("tile", order=order(render_params={"rescale": [[-5, 10]]}))
    document = collection(low, item("tile"), **FULL)
    assert document["renders"]["default"]["rescale"] == [[-5.0, 300.0]]
    links = {link["rel"]: link["href"] for link in document["links"]}
    assert "/collections/heights/" in links["tilejson"]
    assert "rescale=-5.0%2C300.0" in links["tilejson"]


def test_items_that_look_different_have_no_common_render() -> None:
    document = collection(item("tile"), item("image"), **FULL)
    assert "renders" not in document
    assert "tilejson" not in {link["rel"] for link in document["links"]}


def test_heights_of_the_facts_are_what_these_tests_say() -> None:
    assert HEIGHTS.histogram is not None
    assert sum(HEIGHTS.histogram.counts) == HEIGHTS.valid
