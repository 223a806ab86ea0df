"""Mosaics: a VRT over tiles or members reads as the one raster that they are parts of."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RioWindow

from geo_etl.errors import RasterError
from geo_etl.raster.facts import Grid, Validity, Window
from geo_etl.raster.mosaic import Member, MosaicBand, mosaic_grid, vrt

DEM = Grid("EPSG:4326", Affine(0.25, 0, 10.1, 0, -0.25, 50.3), 70, 50)
ROTATED = Grid("EPSG:32633", Affine(3, 4, 500_000, 4, -3, 5e6), 70, 50)
NAN = float("nan")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _internal_masks() -> Iterator[None]:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        yield


def write(
    path: Path,
    grid: Grid,
    data: np.ndarray,
    *,
    nodata: float | None = None,
    mask: np.ndarray | None = None,
    **more: Any,
) -> Path:
    """A GeoTIFF of bands × rows × columns."""
    colors, colormap = more.pop("colors", None), more.pop("colormap", None)
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(data),
        "dtype": data.dtype,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": nodata,
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as file:
        if colors:
            file.colorinterp = colors
        if colormap:
            file.write_colormap(1, colormap)
        file.write(data)
        if mask is not None:
            file.write_mask(mask)
    return path


def tiles_of(grid: Grid, size: int) -> list[Window]:
    return [
        Window(c, r, min(size, grid.width - c), min(size, grid.height - r))
        for r in range(0, grid.height, size)
        for c in range(0, grid.width, size)
    ]


def tile(folder: Path, whole: Path, grid: Grid, bands: tuple[MosaicBand, ...], **how: Any) -> Path:
    """Cut a raster into tiles, leave out the empty ones, and lay a VRT over the others."""
    members, validity = [], how.get("validity", "none")
    with rasterio.open(whole) as file:
        for number, window in enumerate(tiles_of(grid, 32)):
            if number in how.get("without", ()):
                continue
            part = RioWindow(window.col, window.row, window.width, window.height)
            mask = file.dataset_mask(window=part) if validity == "mask" else None
            write(
                folder / f"tiles/{number}.tif",
                grid.window(window),
                file.read(window=part),
                mask=mask,
                nodata=file.nodata,
                colors=how.get("colors"),
            )
            members.append(Member(f"tiles/{number}.tif", grid.window(window), validity, bands))
    path = folder / "mosaic.vrt"
    path.write_text(vrt(members, grid, "set"))
    return path


def assert_equal_rasters(one: Path, other: Path) -> None:
    with rasterio.open(one) as a, rasterio.open(other) as b:
        assert a.shape == b.shape
        assert a.transform == b.transform
        assert a.crs == b.crs
        assert a.dtypes == b.dtypes
        np.testing.assert_array_equal(a.read(), b.read())
        np.testing.assert_array_equal(a.read_masks(), b.read_masks())


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"],
)
def test_tiles_read_as_the_untiled_raster(
    tmp_path: Path, rng: np.random.Generator, dtype: str
) -> None:
    kind = np.dtype(dtype)
    drawn = rng.integers(0, 256, (2, DEM.height, DEM.width * kind.itemsize), dtype="uint8")
    data = np.nan_to_num(drawn.view(kind)) if kind.kind == "f" else drawn.view(kind)
    whole = write(tmp_path / "whole.tif", DEM, data)

    mosaic = tile(tmp_path, whole, DEM, (MosaicBand(dtype, "gray"),) * 2)

    assert_equal_rasters(mosaic, whole)


@pytest.mark.parametrize("nodata", [-9999.0, NAN, -3.4028234663852886e38, 0.0])
def test_a_gap_is_nodata(tmp_path: Path, rng: np.random.Generator, nodata: float) -> None:
    data = rng.normal(100, 5, (1, DEM.height, DEM.width)).astype("float32")
    data[:, 10:14, 30:40] = nodata
    data[:, 32:, 32:64] = nodata  # all of tile 4
    whole = write(tmp_path / "whole.tif", DEM, data, nodata=nodata)

    bands = (MosaicBand("float32", "gray", nodata=nodata),)
    mosaic = tile(tmp_path, whole, DEM, bands, validity="nodata", without=(4,))

    assert_equal_rasters(mosaic, whole)
    with rasterio.open(mosaic) as file:
        np.testing.assert_equal(file.nodata, nodata)


def test_a_gap_is_masked(tmp_path: Path, rng: np.random.Generator) -> None:
    data = rng.integers(0, 256, (3, DEM.height, DEM.width), dtype="uint8")
    mask = np.full((DEM.height, DEM.width), 255, "uint8")
    mask[5:9, 28:36] = 0
    mask[32:, 32:64] = 0
    data[:, 32:, 32:64] = 0
    whole = write(tmp_path / "whole.tif", DEM, data, mask=mask)

    bands = tuple(MosaicBand("uint8", color) for color in ("red", "green", "blue"))
    mosaic = tile(tmp_path, whole, DEM, bands, validity="mask", without=(4,))

    assert_equal_rasters(mosaic, whole)
    with rasterio.open(mosaic) as file:
        assert [c.name for c in file.colorinterp] == ["red", "green", "blue"]
        np.testing.assert_array_equal(file.dataset_mask(), mask)


def test_a_gap_is_transparent(tmp_path: Path, rng: np.random.Generator) -> None:
    data = rng.integers(0, 256, (4, DEM.height, DEM.width), dtype="uint8")
    data[:, 32:, 32:64] = 0
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    whole = write(tmp_path / "whole.tif", DEM, data, colors=colors)

    bands = tuple(MosaicBand("uint8", color.name) for color in colors)
    mosaic = tile(tmp_path, whole, DEM, bands, validity="alpha", without=(4,), colors=colors)

    assert_equal_rasters(mosaic, whole)
    with rasterio.open(mosaic) as file:
        assert file.colorinterp == tuple(colors)


def test_a_gap_between_tiles_that_are_all_valid_is_masked(tmp_path: Path) -> None:
    data = np.ones((1, DEM.height, DEM.width), "uint8")
    whole = write(tmp_path / "whole.tif", DEM, data)

    mosaic = tile(tmp_path, whole, DEM, (MosaicBand("uint8", "gray"),), without=(0,))

    with rasterio.open(mosaic) as file:
        assert not file.dataset_mask()[:32, :32].any()
        assert file.dataset_mask()[32:].all()
        assert file.dataset_mask()[:, 32:].all()


def test_tiles_of_a_rotated_grid_read_as_the_untiled_raster(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    data = rng.integers(0, 256, (1, ROTATED.height, ROTATED.width), dtype="uint8")
    whole = write(tmp_path / "whole.tif", ROTATED, data)

    mosaic = tile(tmp_path, whole, ROTATED, (MosaicBand("uint8", "gray"),))

    assert_equal_rasters(mosaic, whole)


def test_colours_names_units_and_scales_are_kept(tmp_path: Path) -> None:
    grid = Grid("EPSG:25832", Affine(10, 0, 500_000, 0, -10, 5.6e6), 20, 20)
    colormap = {0: (0, 0, 0, 0), 1: (255, 0, 0, 255), 7: (9, 8, 7, 255)}
    write(tmp_path / "a.tif", grid, np.full((1, 20, 20), 7, "uint8"), colormap=colormap)
    bands = (
        MosaicBand(
            "uint8",
            "palette",
            name="Art <Grün> & Co",
            scale=0.1,
            offset=-4.0,
            unit="°C",
            colormap=tuple(colormap.items()),
        ),
    )
    (tmp_path / "a.vrt").write_text(vrt([Member("a.tif", grid, "none", bands)], grid, "set"))

    with rasterio.open(tmp_path / "a.vrt") as file:
        assert file.colorinterp == (ColorInterp.palette,)
        found = file.colormap(1)
        assert {value: found[value] for value in colormap} == colormap
        assert found[3] == (0, 0, 0, 0)
        assert file.descriptions == ("Art <Grün> & Co",)
        assert (file.scales, file.offsets, file.units) == ((0.1,), (-4.0,), ("°C",))


@settings(max_examples=40, deadline=None)
@given(
    west=st.floats(-170, 170),
    north=st.floats(-80, 80),
    pixel=st.floats(1e-7, 0.1),
    width=st.integers(1, 400_000),
    size=st.sampled_from([1, 2048, 6144]),
)
def test_tiles_lie_on_whole_pixels_without_gap_or_overlap(
    west: float, north: float, pixel: float, width: int, size: int
) -> None:
    grid = Grid("EPSG:4326", Affine(pixel, 0, west, 0, -pixel, north), width, 3)
    ends = sorted({0, width, *(k * size for k in range(1, 5) if k * size < width)})
    windows = [Window(c, 0, last - c, 3) for c, last in pairwise(ends)]
    bands = (MosaicBand("uint8", "gray"),)
    members = [Member(f"{w.col}.tif", grid.window(w), "none", bands) for w in windows]

    text = vrt(members, grid, "set")

    for w in windows:
        assert f'<DstRect xOff="{w.col}" yOff="0" xSize="{w.width}" ySize="3" />' in text
    assert "MaskBand" not in text
    assert "ComplexSource" not in text


def overlapping(tmp_path: Path, validity: Validity, **more: Any) -> tuple[Path, Grid]:
    """Two rasters of 20 × 20 that share 10 columns; the second is not valid in its first five."""
    nodata = more.get("nodata")
    members = []
    for number, value in enumerate((1, 2)):
        grid = Grid("EPSG:25832", Affine(10, 0, 500_000 + 100 * number, 0, -10, 5.6e6), 20, 20)
        data = np.full((2 if validity == "alpha" else 1, 20, 20), value, "uint8")
        valid = np.full((20, 20), 255, "uint8")
        if number == 1:
            valid[:, :5] = 0
            data[0, :, :5] = 99 if nodata is None else nodata
        colors = ["gray", "alpha"] if validity == "alpha" else ["gray"]
        if validity == "alpha":
            data[1] = valid
        write(
            tmp_path / f"{number}.tif",
            grid,
            data,
            nodata=nodata,
            mask=valid if validity == "mask" else None,
            colors=[ColorInterp[color] for color in colors],
        )
        bands = tuple(MosaicBand("uint8", color, nodata=nodata) for color in colors)
        members.append(Member(f"{number}.tif", grid, validity, bands))
    common = mosaic_grid(members, "set")
    (tmp_path / "a.vrt").write_text(vrt(members, common, "set"))
    return tmp_path / "a.vrt", common


@pytest.mark.parametrize(("validity", "nodata"), [("nodata", 0), ("mask", None), ("alpha", None)])
def test_where_members_overlap_the_last_valid_pixel_is_on_top(
    tmp_path: Path, validity: Validity, nodata: float | None
) -> None:
    path, grid = overlapping(tmp_path, validity, nodata=nodata)

    assert (grid.width, grid.height) == (30, 20)
    with rasterio.open(path) as file:
        assert (file.read(1)[:, :15] == 1).all()
        assert (file.read(1)[:, 15:] == 2).all()
        assert file.dataset_mask().all()


def test_the_grid_is_that_of_the_finest_member(tmp_path: Path) -> None:
    band = (MosaicBand("uint8", "gray"),)
    coarse = Grid("EPSG:25832", Affine(20, 0, 500_000, 0, -20, 5.6e6), 10, 10)
    fine = Grid("EPSG:25832", Affine(10, 0, 500_203, 0, -10, 5_600_004), 20, 20)
    write(tmp_path / "coarse.tif", coarse, np.arange(100, dtype="uint8").reshape(1, 10, 10))
    write(tmp_path / "fine.tif", fine, np.full((1, 20, 20), 200, "uint8"))
    members = [
        Member("coarse.tif", coarse, "none", band),
        Member("fine.tif", fine, "none", band),
    ]

    grid = mosaic_grid(members, "set")
    (tmp_path / "a.vrt").write_text(vrt(members, grid, "set"))

    assert grid.transform == Affine(10, 0, 499_993, 0, -10, 5_600_004)
    assert (grid.width, grid.height) == (41, 21)
    with rasterio.open(tmp_path / "a.vrt") as file:
        data = file.read(1)
        assert (data[:20, 21:] == 200).all()
        # Of each coarse pixel, the fine one in its middle has its value.
        assert [data[1 + 2 * row, 2] for row in range(10)] == [10 * row for row in range(10)]
        assert not file.dataset_mask()[20, 21:].any()


def test_members_that_tell_valid_pixels_by_different_values_share_a_mask(tmp_path: Path) -> None:
    members = []
    for number, nodata in enumerate((0, 255, None)):
        grid = Grid("EPSG:25832", Affine(10, 0, 500_000 + 40 * number, 0, -10, 5.6e6), 4, 1)
        data = np.array([[[0, 1, 254, 255]]], "uint8")
        write(tmp_path / f"{number}.tif", grid, data, nodata=nodata)
        band = (MosaicBand("uint8", "gray", nodata=nodata),)
        members.append(Member(f"{number}.tif", grid, "none" if nodata is None else "nodata", band))
    grid = mosaic_grid(members, "set")
    (tmp_path / "a.vrt").write_text(vrt(members, grid, "set"))

    with rasterio.open(tmp_path / "a.vrt") as file:
        assert file.nodata is None
        assert file.read(1).tolist() == [[0, 1, 254, 255] * 3]
        valid = [[0, 255, 255, 255, 255, 255, 255, 0, 255, 255, 255, 255]]
        assert file.dataset_mask().tolist() == valid


GRAY = Member("a.tif", DEM, "none", (MosaicBand("uint8", "gray"),))


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (replace(GRAY, bands=GRAY.bands * 3), "number of bands"),
        (replace(GRAY, bands=(MosaicBand("int16", "gray"),)), "type"),
        (replace(GRAY, bands=(MosaicBand("uint8", "palette"),)), "colour interpretation"),
        (replace(GRAY, bands=(MosaicBand("uint8", "gray", scale=0.1),)), "scale"),
        (replace(GRAY, grid=replace(DEM, crs="EPSG:25832")), "CRS"),
    ],
)
def test_members_that_differ_are_refused_by_name(other: Member, difference: str) -> None:
    other = replace(other, path="b.tif")

    with pytest.raises(RasterError, match=rf"a\.tif and b\.tif differ in {difference}"):
        vrt([GRAY, other], DEM, "set")


def test_the_same_crs_in_other_words_is_no_difference() -> None:
    wkt = rasterio.crs.CRS.from_epsg(4326).to_wkt()
    other = replace(GRAY, path="b.tif", grid=replace(DEM, crs=wkt))

    assert vrt([GRAY, other], DEM, "set").count("<SourceFilename") == 2


def test_a_rotated_member_is_refused() -> None:
    with pytest.raises(RasterError, match=r"a\.tif is not north up.*target_crs"):
        mosaic_grid([replace(GRAY, grid=ROTATED)], "set")


def test_bands_with_different_nodata_that_one_mask_can_not_tell_are_refused() -> None:
    one, two = (
        Member(name, DEM, "nodata", (MosaicBand("uint8", "gray", nodata=value),) * 2)
        for name, value in (("a.tif", 0.0), ("b.tif", 255.0))
    )

    with pytest.raises(RasterError, match=r"a\.tif and b\.tif do not tell valid pixels"):
        vrt([one, two], DEM, "set")


def test_wide_integers_that_overlap_with_nodata_are_refused() -> None:
    members = [
        Member(name, DEM, "nodata", (MosaicBand("int64", "gray", nodata=-1.0),))
        for name in ("a.tif", "b.tif")
    ]

    with pytest.raises(RasterError, match="overlap, and are int64"):
        vrt(members, DEM, "set")
