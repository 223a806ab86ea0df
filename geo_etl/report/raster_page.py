"""The quality report of a raster as a page for a browser."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from geo_etl.raster.facts import Band
from geo_etl.report.elements import data_table, fact_list, foreign, section, tag
from geo_etl.report.histogram import histogram_svg
from geo_etl.report.raster_quality import RasterReport, nodata_words
from geo_etl.report.raster_result import TileResult
from geo_etl.report.sections import cards, headline, metadata_table, page, warning_list
from geo_etl.report.tier_words import tier_section
from geo_etl.report.words import data_uri, day, extent, figure, file_size, moment, percentage

SHOWN_BANDS, SHOWN_CLASSES, SHOWN_TILES, SHOWN_TAGS = 50, 40, 200, 30
SHOWN_CHARACTERS = 300
"""Of a tag, or of a CRS that has no code."""

Cell = Element | str


def raster_page(report: RasterReport, picture: bytes | None) -> str:
    """The report as an HTML document.

    Args:
        picture: PNG of the raster where it is; None: there is none.
    """
    result = report.result
    sections = [
        headline(
            "Quality report",
            report.result.source,
            report.score,
            ["Published as ", foreign(result.layer), f" on {day(report.created)}"],
            report.scores,
        ),
        cards(report.scores),
        warning_list(result.warnings),
        _place(report, picture),
        _pixels(report),
        _found(report),
        *_bands(report.facts.bands),
        tier_section(result.assets),
        _tiles(result.tiles),
        metadata_table(report.metadata),
        _lineage(report),
    ]
    return page(f"Quality of {result.source}", sections)


def _place(report: RasterReport, picture: bytes | None) -> Element:
    result, grid = report.result, report.facts.grid
    image = None
    if picture is not None:
        image = tag("img", src=data_uri(picture), alt="The raster where it is")
    facts: list[tuple[str, Cell]] = [("CRS of the source", foreign(_cut(result.original_crs)))]
    facts += [
        (f"CRS of {asset.tier}", foreign(_cut(asset.crs)))
        for asset in result.assets
        if asset.crs is not None and asset.crs != result.original_crs
    ]
    if result.stac.bbox is not None:
        facts.append(("Extent, WGS 84", extent(result.stac.bbox)))
    across = (grid.transform.a**2 + grid.transform.d**2) ** 0.5
    along = (grid.transform.b**2 + grid.transform.e**2) ** 0.5
    facts += [
        ("Size of the source", f"{grid.width:,} × {grid.height:,} pixels"),
        ("Size of its pixels", f"{figure(across)} × {figure(along)} units of its CRS"),
    ]
    if not grid.is_north_up:
        facts.append(("Its grid", "is not north up: rows do not run from north to south"))
    return section("Where it is", image, fact_list(facts))


def _pixels(report: RasterReport) -> Element:
    summary = report.result.summary
    parts = [
        ("valid", summary.pixels_valid, "good"),
        ("without data", summary.pixels - summary.pixels_valid, "none"),
    ]
    bar = tag(
        "div",
        *(
            tag("i", cls=light, style=f"width: {100 * count / summary.pixels:.3f}%")
            for _, count, light in parts
            if count > 0
        ),
        cls="sum",
    )
    legend = (
        tag("li", tag("i", cls=light), f" {count:,} {name} ({percentage(count / summary.pixels)})")
        for name, count, light in parts
    )
    tiles = ""
    if report.result.form == "tiled":
        tiles = (
            f"{summary.total_tiles:,} tiles planned = {summary.tiles_converted:,} converted + "
            f"{summary.tiles_empty:,} empty. "
        )
    end = "Nothing is unaccounted for." if summary.data_complete else "The sum does not hold."
    return section(
        "What became of the pixels",
        tag("p", tag("b", f"{summary.pixels:,} pixels in the source. {tiles}"), end),
        bar,
        tag("ul", *legend, cls="legend"),
    )


def _found(report: RasterReport) -> Element:
    facts, result = report.facts, report.result
    rows: list[tuple[str, Cell]] = [
        ("Kind of data", foreign(f"{facts.kind}: {facts.kind_because}")),
        ("Which pixels are data", nodata_words(facts)),
        ("Bands", f"{len(facts.bands)} of type {', '.join(_types(facts.bands))}"),
        (
            "Narrowed",
            f"to {result.narrowed_to}: every pixel comes back as it was"
            if result.narrowed_to
            else "no: the type of the source is kept",
        ),
        (
            "Georeferenced by",
            "origin and pixel size"
            if facts.georeference == "transform"
            else "ground control points",
        ),
        ("Format", facts.driver + (", a valid COG already" if facts.is_cog else "")),
        ("Compression", facts.compression or "none"),
        ("Blocks", f"{facts.block[1]} × {facts.block[0]} pixels" if any(facts.block) else ""),
        ("Interleaving", facts.interleave or ""),
        ("Overviews", ", ".join(f"1:{factor}" for factor in facts.overviews) or "none"),
        ("Variable", foreign(facts.subdataset) if facts.subdataset else ""),
        (
            "Acquired",
            foreign(f"{facts.acquired} ({facts.acquired_from})") if facts.acquired else "",
        ),
        *(("Tag", foreign(_cut(f"{name}: {value}"))) for name, value in facts.tags[:SHOWN_TAGS]),
    ]
    return section("What it was found to be", fact_list([row for row in rows if row[1] != ""]))


def _types(bands: Sequence[Band]) -> list[str]:
    return list(dict.fromkeys(band.dtype for band in bands))


def _bands(bands: Sequence[Band]) -> list[Element]:
    rows: list[list[Cell]] = [_band(band) for band in bands[:SHOWN_BANDS]]
    heads = ["Band", "Name", "Type", "Valid", "Lowest", "Highest", "Mean", "Deviation", "Histogram"]
    hidden = len(bands) - SHOWN_BANDS
    more = tag("p", f"and {hidden:,} more bands") if hidden > 0 else None
    tables = [section("Bands", data_table(heads, rows), more)]
    tables += [_classes(band) for band in bands if band.colormap and band.classes][:1]
    return tables


def _band(band: Band) -> list[Cell]:
    found = band.statistics
    name = tag("div", foreign(band.name or ""))
    scaled = (band.scale, band.offset) != (1, 0)
    remarks = [
        band.color if band.color not in ("undefined", "gray") else "",
        band.unit or "",
        f"× {band.scale:g} + {band.offset:g}" if scaled else "",
        f"{band.significant_bits} bits used" if band.significant_bits else "",
    ]
    said = ", ".join(remark for remark in remarks if remark)
    if said:
        name.append(tag("div", foreign(said), cls="meaning"))
    return [
        str(band.index),
        name,
        tag("code", band.dtype),
        f"{found.valid:,}",
        figure(found.minimum),
        figure(found.maximum),
        figure(found.mean),
        figure(found.stddev),
        histogram_svg(found.histogram) if found.histogram else "",
    ]


def _classes(band: Band) -> Element:
    """The colours of the classes that the pixels have."""
    colours, classes = dict(band.colormap or ()), band.classes or ()
    shown = [value for value in classes if value in colours][:SHOWN_CLASSES]
    items = (tag("li", tag("i", style=_background(colours[value])), f" {value}") for value in shown)
    hidden = len(classes) - len(shown)
    return section(
        "Colour table",
        tag("p", f"{len(classes)} values occur in band {band.index}."),
        tag("ul", *items, cls="legend"),
        tag("p", f"and {hidden} more") if hidden > 0 else None,
    )


def _background(colour: tuple[int, int, int, int]) -> str:
    red, green, blue, alpha = colour
    return f"background: rgba({red}, {green}, {blue}, {alpha / 255:.3g})"


def _tiles(tiles: Sequence[TileResult]) -> Element | None:
    if not tiles:
        return None
    rows: list[list[Cell]] = [
        [
            f"{tile.row}, {tile.col}",
            f"{tile.window.col:,}, {tile.window.row:,}",
            f"{tile.window.width:,} × {tile.window.height:,}",
            "empty" if tile.empty else file_size(tile.bytes),
            foreign(tile.item_id or ""),
        ]
        for tile in tiles[:SHOWN_TILES]
    ]
    hidden = len(tiles) - SHOWN_TILES
    return section(
        "Tiles",
        data_table(["Row, column", "First pixel", "Pixels", "Size", "STAC item"], rows),
        tag("p", f"and {hidden:,} more tiles") if hidden > 0 else None,
    )


def _lineage(report: RasterReport) -> Element:
    order, result = report.order, report.result
    programs = ", ".join(f"{name} {version}" for name, version in report.software.items())
    facts: list[tuple[str, Cell]] = [
        ("Source", foreign(result.source)),
        ("Format", f"{report.facts.driver}, {order.bytes:,} bytes"),
        ("Written", moment(order.modified)),
        ("SHA-256", tag("code", order.fingerprint)),
        ("Job", tag("code", result.job_id)),
        ("Version", "not versioned" if result.version is None else str(result.version)),
        ("Report made", moment(report.created)),
        ("Made with", programs),
    ]
    return section("Where it comes from", fact_list(facts))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …"
