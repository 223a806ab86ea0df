"""The quality report: scores, the page, the summary, the picture."""

import base64
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from shapely.geometry import MultiPolygon, Point, box

from geo_etl.report.documents import StacReference
from geo_etl.report.markdown import summary_markdown
from geo_etl.report.page import quality_page
from geo_etl.report.picture import QUARANTINED, REPAIRED, Marked, map_picture
from geo_etl.report.quality import QualityReport, light
from geo_etl.report.result import Summary, VectorResult
from geo_etl.report.scoring import Delivery, MeasuredTable, is_invented, quality_report
from geo_etl.vector.attributes import Column
from geo_etl.vector.profile import Change, Example, Findings, Reason, TableProfile

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> &amp; \u202e ]]> -->"
FILL = "#84a7d7"
"""The ink of features at their opacity, on white."""
NOTHING = Findings((), None, ())


def summary(read: int = 10, loaded: int = 10, repaired: int = 0, dropped: int = 0) -> Summary:
    return Summary(
        features_read=read,
        features_loaded=loaded,
        features_repaired=repaired,
        features_quarantined=read - loaded - dropped,
        features_dropped=dropped,
        total_chunks=1,
        chunks_loaded=1,
        success_rate=loaded / read if read else 0,
        data_complete=True,
    )


def result(counts: Summary, text: str = "bronze/roads.zip") -> VectorResult:
    return VectorResult(
        job_id="ab" * 32,
        source=text,
        table="geo.roads",
        summary=counts,
        stac=StacReference(collection_id="c", item_id="i", bbox=None),
        ogc_features_url=None,
        viewer_url=None,
        stages=[],
        processing_time_seconds=1,
        tasks_executed=4,
        parallel_efficiency=None,
        original_crs="EPSG:32633",
        geometry_type="MultiPolygon",
        warnings=[text],
        version=2,
    )


def delivery(**changes: Any) -> Delivery:
    facts: dict[str, Any] = {
        "format": "ESRI Shapefile",
        "bytes": 1234,
        "sha256": "cd" * 32,
        "modified": datetime(2026, 3, 4, tzinfo=UTC),
        "crs_declared": True,
        "encoding_declared": True,
        **changes,
    }
    return Delivery(**facts)


def table(filled: dict[str, int], rows: int, duplicates: int = 0) -> MeasuredTable:
    columns = [Column(name, name, "text") for name in filled]
    profile = TableProfile(rows, filled, duplicates, duplicates)
    box_ = (177.0, -19.0, -178.0, -16.0)
    return MeasuredTable("geo.roads", "MultiPolygon", 4326, box_, columns, profile)


def report(
    counts: Summary | None = None,
    filled: dict[str, int] | None = None,
    rows: int = 10,
    findings: Findings = NOTHING,
    text: str = "bronze/roads.zip",
    duplicates: int = 0,
    **changes: Any,
) -> QualityReport:
    counts = counts or summary()
    tables = [table(filled if filled is not None else {"name": rows}, rows, duplicates)]
    return quality_report(
        result(counts, text), delivery(**changes), tables, findings, {"GDAL": "3.12.4"}
    )


def scores(document: QualityReport) -> dict[str, int]:
    return {score.name: score.value for score in document.scores}


# Scores


def test_scores_of_a_flawed_source() -> None:
    counts = summary(read=200, loaded=190, repaired=20, dropped=4)
    found = scores(report(counts, {"a": 190, "b": 95}, rows=190, duplicates=19))
    assert found["Delivered"] == 95
    assert found["Valid"] == 87  # 20 repaired and 6 quarantined, of 200
    assert found["Complete"] == 75
    assert found["Unique"] == 90


def test_only_what_is_flawless_gets_100() -> None:
    counts = summary(read=1_000_000, loaded=999_999)
    found = scores(report(counts, {"a": 999_998}, rows=999_999))
    assert (found["Delivered"], found["Valid"], found["Complete"]) == (99, 99, 99)
    assert found["Unique"] == 100


def test_the_headline_is_the_mean() -> None:
    document = report()
    values = list(scores(document).values())
    assert document.score == sum(values) // len(values)


def test_zero_loaded_rows_are_poor_and_no_error() -> None:
    document = report(summary(read=5, loaded=0), {"a": 0}, rows=0)
    found = scores(document)
    assert (found["Delivered"], found["Complete"], found["Unique"]) == (0, 0, 0)
    assert document.tables[0].columns[0].completeness is None
    assert "no rows" in quality_page(document, None)


def test_a_table_without_attributes_is_complete() -> None:
    assert scores(report(filled={}))["Complete"] == 100


@pytest.mark.parametrize(
    ("score", "expected"),
    [(100, "good"), (95, "good"), (94, "fair"), (80, "fair"), (79, "poor"), (0, "poor")],
)
def test_lights(score: int, expected: str) -> None:
    assert light(score) == expected


# Metadata


def test_everything_given_is_fully_described() -> None:
    given = {
        "datetime_from": "column observed",
        "title": "Roads",
        "description": "All roads",
        "licence": "CC-BY-4.0",
        "provider": "The agency",
    }
    assert scores(report(**given))["Described"] == 100


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"crs_declared": False}, "Coordinate reference system"),
        ({"encoding_declared": False}, "Text encoding"),
        ({"filled": {"field_1": 10}}, "Column names"),
        ({}, "Date of the data"),
        ({}, "Licence"),
    ],
)
def test_a_missing_fact_says_how_to_add_it(change: dict[str, Any], fact: str) -> None:
    document = report(**change)
    missing = {entry.name: entry for entry in document.metadata if not entry.present}
    assert fact in missing
    assert missing[fact].remedy in quality_page(document, None)


@pytest.mark.parametrize("name", ["field_1", "Column2", "FLD12", "f3", "Unnamed: 0", "17", "_", ""])
def test_invented_names(name: str) -> None:
    assert is_invented(name)


@pytest.mark.parametrize("name", ["name", "fields", "pop2020", "Straße", "имя", "area_km2", "id"])
def test_meaningful_names(name: str) -> None:
    assert not is_invented(name)


# The page


class Page(HTMLParser):
    """What a browser makes of a page: tags, their attributes, the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.text += data


def everywhere(text: str) -> QualityReport:
    """A report that has a text in every place that a provider can write to."""
    example = Example(3, text, {text: [text, {"deep": text}]})
    findings = Findings((Reason(text, 2),), Change(3, 10.0, 9.0), (Reason(text, 1, (example,)),))
    counts = summary(read=10, loaded=9, repaired=2)
    return report(counts, {text: 5}, 9, findings, text, title=text, licence=text)


@given(text=st.text(min_size=1))
def test_whatever_is_written_into_names_stays_text(text: str) -> None:
    plain, page = (Page(quality_page(everywhere(t), PNG)) for t in ("plain", text))
    assert page.tags == plain.tags
    assert len(page.attributes) == len(plain.attributes)


def test_hostile_text_is_shown_as_it_is() -> None:
    html = quality_page(everywhere(HOSTILE), PNG)
    page = Page(html)
    assert HOSTILE in page.text
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script" not in html


def test_the_page_loads_nothing() -> None:
    page = Page(quality_page(everywhere("x"), PNG))
    addresses = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(addresses) == 1
    assert str(addresses[0]).startswith("data:image/png;base64,")
    assert "link" not in page.tags
    assert not re.search(r"url\(|@import", quality_page(report(), None))


def test_a_lone_surrogate_is_no_error() -> None:
    quality_page(everywhere("a\udc80b"), None).encode("utf-8")


def test_the_page_tells_the_sum_in_words() -> None:
    text = Page(quality_page(report(summary(read=1500, loaded=1490, dropped=4)), None)).text
    assert "1,500 features delivered = 1,490 published + 6 quarantined + 4 dropped" in text
    assert "Nothing is unaccounted for" in text


def test_the_page_says_when_the_sum_does_not_hold() -> None:
    counts = summary().model_copy(update={"data_complete": False})
    assert "The sum does not hold" in Page(quality_page(report(counts), None)).text


def test_a_share_that_is_only_nearly_whole_is_not_called_so() -> None:
    text = Page(quality_page(report(filled={"a": 999_999}, rows=1_000_000), None)).text
    assert "99.99%" in text


def test_the_page_has_lineage_and_findings() -> None:
    text = Page(quality_page(everywhere("Self-intersection"), PNG)).text
    for part in ("cd" * 32, "ab" * 32, "GDAL 3.12.4", "Self-intersection", "feature 3", "10%"):
        assert part in text
    assert "over the antimeridian" in text


def test_rows_of_other_jobs_are_mentioned() -> None:
    assert "30 rows in all" in Page(quality_page(report(rows=30), None)).text


# The summary


def test_the_summary_has_scores_sums_link_and_map() -> None:
    text = summary_markdown(report(), PNG, "http://localhost/a b.html")
    assert "10 features delivered = 10 published" in text
    assert "(http://localhost/a%20b.html)" in text
    assert base64.b64encode(PNG).decode() in text


@given(text=st.text(min_size=1))
def test_nothing_of_a_providers_text_has_a_meaning_in_markdown(text: str) -> None:
    lines = summary_markdown(report(text=text)).splitlines()
    said = next((line for line in lines if line.startswith("- ")), "- ")[2:]
    assert re.fullmatch(r"(?:[^!-/:-@\[-`{-~]|\\[!-/:-@\[-`{-~])*", said)
    assert re.sub(r"\\(.)", r"\1", said) == " ".join(text.split())


# The picture


def pixels(png: bytes, colour: str) -> int:
    """How many pixels of a picture have nearly a colour, its hue at least."""
    image = imread(io.BytesIO(png))[..., :3]
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return int((np.abs(image - wanted).max(axis=2) < 0.15).sum())


def wkb(*geometries: Any) -> list[bytes]:
    return [shapely.to_wkb(geometry) for geometry in geometries]


def test_repaired_and_quarantined_features_are_marked() -> None:
    features = wkb(*(box(i, 0, i + 0.9, 1) for i in range(6)))
    lost = wkb(box(222_638.98, 55_597.5, 333_958.47, 111_325.14))  # 2–3° E, 0.5–1° N, EPSG:3857
    picture = map_picture(features, 4326, "t", Marked(features[4:5], lost, "EPSG:3857"))
    assert pixels(picture, REPAIRED) > 1000
    assert pixels(picture, QUARANTINED) > 500


def test_without_marks_there_are_none() -> None:
    picture = map_picture(wkb(box(0, 0, 1, 1)), 4326, "t")
    assert pixels(picture, REPAIRED) == 0
    assert pixels(picture, QUARANTINED) == 0


def test_what_can_not_be_placed_is_left_out() -> None:
    lost = [
        b"",
        b"\x01\x02",
        *wkb(Point(np.inf, 1), Point(np.nan, 1), Point()),
        *wkb(Point(1e9, 1e9)),
    ]
    plain = map_picture(wkb(box(0, 0, 1, 1)), 32633, "t")
    for crs in ("EPSG:4326", "no such CRS", None):
        assert map_picture(wkb(box(0, 0, 1, 1)), 32633, "t", Marked((), lost, crs)) == plain


def test_both_sides_of_the_antimeridian_are_drawn_together() -> None:
    fiji = wkb(MultiPolygon([box(177, -19, 180, -16), box(-180, -19, -178, -16)]))
    one_piece = wkb(box(177, -19, 182, -16))
    together, expected = (map_picture(shape, 4326, "t") for shape in (fiji, one_piece))
    assert pixels(together, FILL) == pytest.approx(pixels(expected, FILL), rel=0.02)


@pytest.mark.parametrize("srid", [4326, 3857, 32660, 3031, 2263, 4267])
@pytest.mark.parametrize("geometries", [[], [Point(1, 2)], [Point(1, 2), Point(1, 2)], [Point()]])
def test_few_or_no_geometries_are_no_error(geometries: list[Any], srid: int) -> None:
    assert map_picture(wkb(*geometries), srid, "a $\\frac$ _title_")[:4] == b"\x89PNG"


def test_the_whole_world_is_no_error() -> None:
    picture = map_picture(wkb(box(-180, -90, 180, 90)), 4326, "t")
    assert pixels(picture, FILL) > 10_000


def test_a_map_of_metres_that_are_called_degrees_is_drawn_at_once() -> None:
    wkb = shapely.to_wkb(shapely.box(244_697, 1_000_147, 244_933, 1_000_373))

    picture = map_picture([wkb], 4326, "metres")

    assert picture.startswith(b"\x89PNG")
