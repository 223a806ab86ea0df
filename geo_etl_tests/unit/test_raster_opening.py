"""Which rasters are opened, as what, and what is said about those that are not."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

from geo_etl.errors import SourceError, SpecError
from geo_etl.raster.inspect import inspect
from geo_etl.raster.opening import RASTER_EXTENSIONS, open_raster
from geo_etl.spec import RasterSpec

UTM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
WORLD_FILE = "10\n0\n0\n-10\n500005\n4999995\n"


def tiff(path: Path, pixels: Any = None, **options: Any) -> Path:
    """A GeoTIFF of a few bytes in EPSG:32632, unless the options say otherwise."""
    values = np.arange(64, dtype="uint8").reshape(1, 8, 8) if pixels is None else pixels
    settings = {"crs": "EPSG:32632", "transform": UTM, **options}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        **settings,
    ) as dataset:
        dataset.write(values)
    return path


def converted(path: Path, driver: str, **options: Any) -> Path:
    """The same pixels in another format, without what GDAL writes beside it."""
    source = tiff(path.with_suffix(".made"), np.tile(np.arange(64, dtype="uint8"), (3, 64, 1)))
    rasterio.shutil.copy(source, path, driver=driver, **options)
    source.unlink()
    Path(f"{path}.aux.xml").unlink(missing_ok=True)
    return path


def opened(path: Path, name: str | None = None, **spec: Any) -> tuple[str, tuple[int, ...]]:
    """Driver and shape."""
    with open_raster(path, name or f"bronze/{path.name}", RasterSpec(**spec)) as found:
        dataset = found.dataset
        return found.driver, (dataset.count, dataset.height, dataset.width)


def crs_of(path: Path, **spec: Any) -> str:
    with open_raster(path, path.name, RasterSpec(**spec)) as found:
        return str(inspect(found, path.name, RasterSpec(**spec)).grid.crs)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "tif": lambda path: tiff(path, np.zeros((3, 64, 64), "uint8")),
    "tiff": lambda path: tiff(path, np.zeros((3, 64, 64), "uint8"), BIGTIFF="YES"),
    "jp2": lambda path: converted(path, "JP2OpenJPEG"),
    "png": lambda path: converted(path, "PNG"),
    "jpg": lambda path: converted(path, "JPEG"),
    "jpeg": lambda path: converted(path, "JPEG"),
    "img": lambda path: converted(path, "HFA"),
}
DRIVERS = {
    "tif": "GTiff",
    "tiff": "GTiff",
    "jp2": "JP2OpenJPEG",
    "png": "PNG",
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "img": "HFA",
}


@pytest.mark.parametrize("extension", MAKERS)
def test_a_format_is_opened_by_its_own_driver(extension: str, tmp_path: Path) -> None:
    path = MAKERS[extension](tmp_path / f"a.{extension}")
    assert opened(path) == (DRIVERS[extension], (3, 64, 64))


def test_every_extension_has_a_format() -> None:
    assert set(MAKERS) | {"nc", "hgt", "zip"} == set(RASTER_EXTENSIONS)


@pytest.mark.parametrize("extension", [one for one in RASTER_EXTENSIONS if one != "hgt"])
def test_content_of_another_kind_is_refused(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(SourceError, match="whatever its name says"):
        opened(path)


@pytest.mark.parametrize("extension", RASTER_EXTENSIONS)
def test_an_empty_file_is_refused(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"N10E010.{extension}"
    path.touch()
    with pytest.raises(SourceError, match="0 bytes"):
        opened(path)


@pytest.mark.parametrize("name", ["scene.dat", "scene"])
def test_the_spec_says_the_format_of_a_misleading_name(name: str, tmp_path: Path) -> None:
    path = tiff(tmp_path / name)
    assert opened(path, file_extension="tif")[0] == "GTiff"


def test_an_unknown_extension_lists_the_known_ones(tmp_path: Path) -> None:
    path = tiff(tmp_path / "scene.dat")
    with pytest.raises(SourceError, match=r"'dat' is no raster format.*tif.*jp2"):
        opened(path)


@pytest.mark.parametrize(
    "name", ["a!b.tif", "NETCDF:x.tif", "a b.tif", "x:1.tif", "vsicurl.tif", "ä?.tif", "-o.tif"]
)
def test_a_name_means_nothing_to_gdal(name: str, tmp_path: Path) -> None:
    assert opened(tiff(tmp_path / "plain.tif").rename(tmp_path / name))[0] == "GTiff"


# Siblings


def test_a_world_file_says_where_a_picture_is(tmp_path: Path) -> None:
    path = converted(tmp_path / "a.jpg", "JPEG")
    path.with_suffix(".jgw").write_text(WORLD_FILE)
    spec = RasterSpec(source_crs="EPSG:25832")
    with open_raster(path, "a.jpg", spec) as found:
        assert inspect(found, "a.jpg", spec).grid.transform == UTM


@pytest.mark.parametrize("wkt", ["WKT1_ESRI", "WKT1_GDAL", "WKT2_2019"])
def test_a_prj_says_the_crs_where_the_file_does_not(wkt: str, tmp_path: Path) -> None:
    path = converted(tmp_path / "a.png", "PNG")
    path.with_suffix(".pgw").write_text(WORLD_FILE)
    text = rasterio.CRS.from_epsg(25832).to_wkt(version=wkt)
    path.with_suffix(".prj").write_text(text)
    assert crs_of(path) == "EPSG:25832"


def test_a_prj_does_not_overrule_the_file(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif")
    path.with_suffix(".prj").write_text(rasterio.CRS.from_epsg(25833).to_wkt())
    assert crs_of(path) == "EPSG:32632"


def test_the_spec_overrules_the_file(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif")
    with open_raster(path, "a.tif", RasterSpec(source_crs="EPSG:25832")) as found:
        assert found.dataset.crs == rasterio.CRS.from_epsg(25832)


def test_the_prj_of_a_neighbour_counts_for_nothing(tmp_path: Path) -> None:
    path = converted(tmp_path / "a.png", "PNG")
    path.with_suffix(".pgw").write_text(WORLD_FILE)
    (tmp_path / "ab.prj").write_text(rasterio.CRS.from_epsg(25832).to_wkt())
    with pytest.raises(SourceError, match="source_crs"):
        crs_of(path)


def test_an_aux_xml_gives_crs_and_nodata(tmp_path: Path) -> None:
    path = converted(tmp_path / "a.png", "PNG")
    path.with_suffix(".pgw").write_text(WORLD_FILE)
    Path(f"{path}.aux.xml").write_text(
        f"<PAMDataset><SRS>{rasterio.CRS.from_epsg(25832).to_wkt()}</SRS>"
        '<PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    with open_raster(path, "a.png", RasterSpec()) as found:
        assert found.dataset.crs == rasterio.CRS.from_epsg(25832)
        assert found.dataset.nodatavals[0] == 7


def test_a_mask_beside_a_file_is_its_mask(tmp_path: Path) -> None:
    pixels = np.full((1, 8, 8), 9, "uint8")
    path = tiff(tmp_path / "a.tif", pixels)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.eye(8, dtype=bool))
    assert (tmp_path / "a.tif.msk").exists()
    with open_raster(path, "a.tif", RasterSpec()) as found:
        facts = inspect(found, "a.tif", RasterSpec())
    assert (facts.validity, facts.valid_pixels) == ("mask", 8)


def test_overviews_beside_a_file_are_left_aside(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif")
    tiff(tmp_path / "a.tif.ovr", np.full((1, 4, 4), 77, "uint8"))
    with open_raster(path, "a.tif", RasterSpec()) as found:
        assert found.dataset.overviews(1) == []


# Archives


def zipped(path: Path, *members: tuple[Path, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file, name in members:
            archive.write(file, name)
    return path


def test_a_zip_holds_one_raster_with_its_siblings(tmp_path: Path) -> None:
    picture = converted(tmp_path / "p.png", "PNG")
    world = tmp_path / "w"
    world.write_text(WORLD_FILE)
    path = zipped(tmp_path / "a.zip", (picture, "in/a.PNG"), (world, "in/a.pgw"))
    with open_raster(path, "a.zip", RasterSpec()) as found:
        assert found.driver == "PNG"
        assert found.dataset.transform == UTM


def test_a_zip_of_several_rasters_lists_them(tmp_path: Path) -> None:
    one = tiff(tmp_path / "one.tif")
    path = zipped(tmp_path / "a.zip", (one, "b/one.tif"), (one, "b/two.tif"))
    with pytest.raises(SourceError, match=r"2 rasters: 'b/one.tif', 'b/two.tif'"):
        opened(path)


def test_a_picture_beside_a_raster_in_a_zip_is_its_preview(tmp_path: Path) -> None:
    picture, data = converted(tmp_path / "p.png", "PNG"), tiff(tmp_path / "d.tif")
    assert opened(zipped(tmp_path / "a.zip", (picture, "a.png"), (data, "a.tif")))[0] == "GTiff"


def test_a_zip_without_a_raster_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "t.txt"
    text.write_text("nothing")
    with pytest.raises(SourceError, match="no raster"):
        opened(zipped(tmp_path / "a.zip", (text, "t.txt")))


# SRTM


def srtm(path: Path) -> Path:
    path.write_bytes(np.full((1201, 1201), 500, ">i2").tobytes())
    return path


def test_an_srtm_tile_is_where_its_name_says(tmp_path: Path) -> None:
    path = srtm(tmp_path / "S03W061.hgt")
    with open_raster(path, "bronze/S03W061.hgt", RasterSpec()) as found:
        bounds = found.dataset.bounds
    assert [round(value) for value in bounds] == [-61, -3, -60, -2]


def test_an_srtm_tile_keeps_its_name_in_a_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", (srtm(tmp_path / "x"), "N46E007.SRTMGL3.hgt"))
    with open_raster(path, "a.zip", RasterSpec()) as found:
        assert round(found.dataset.bounds.left) == 7


def test_an_srtm_tile_without_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="south-west corner"):
        opened(srtm(tmp_path / "alps.hgt"))


# NetCDF


def netcdf(path: Path, variables: dict[str, tuple[str, ...]], sizes: dict[str, int]) -> Path:
    """A NetCDF 4 by h5py, as CF wants it: coordinates in degrees, one variable a name."""
    import h5py

    units = {"lat": b"degrees_north", "lon": b"degrees_east", "time": b"days since 2020-01-01"}
    with h5py.File(path, "w") as file:
        for number, (name, size) in enumerate(sizes.items()):
            axis = file.create_dataset(name, data=np.arange(size, dtype="f8") + 1)
            axis.make_scale(name)
            axis.attrs["_Netcdf4Dimid"] = number
            if name in units:
                axis.attrs["units"] = np.bytes_(units[name])
        for name, dimensions in variables.items():
            shape = tuple(sizes[one] for one in dimensions)
            data = file.create_dataset(name, data=np.ones(shape, "f4"))
            for place, one in enumerate(dimensions):
                data.dims[place].attach_scale(file[one])
    return path


SIZES = {"lat": 5, "lon": 8, "time": 3, "bnds": 2}


def test_the_only_variable_of_a_netcdf_is_read(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", {"tas": ("lat", "lon")}, {"lat": 5, "lon": 8})
    assert opened(path) == ("netCDF", (1, 5, 8))


def test_the_times_of_a_netcdf_are_from_the_first_to_the_last(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", {"tas": ("time", "lat", "lon")}, SIZES)
    with open_raster(path, "a.nc", RasterSpec()) as found:
        facts = inspect(found, "a.nc", RasterSpec())
    # Days 1 to 3 since the first of January 2020.
    assert (facts.acquired, facts.acquired_from) == ("2020-01-02T00:00:00Z", "time")
    assert facts.acquired_until == "2020-01-04T00:00:00Z"


def test_degrees_north_and_east_are_wgs_84_and_said(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", {"tas": ("lat", "lon")}, {"lat": 5, "lon": 8})
    with open_raster(path, "a.nc", RasterSpec()) as found:
        facts = inspect(found, "a.nc", RasterSpec())
    assert facts.grid.crs == "EPSG:4326"
    assert "assumed" in facts.warnings[0]


def test_several_variables_of_a_netcdf_are_listed(tmp_path: Path) -> None:
    variables = {"tas": ("lat", "lon"), "pr": ("lat", "lon")}
    path = netcdf(tmp_path / "a.nc", variables, {"lat": 5, "lon": 8})
    with pytest.raises(SourceError, match=r"2 variables: .*(tas.*pr|pr.*tas).*subdataset"):
        opened(path)


def test_the_spec_names_the_variable(tmp_path: Path) -> None:
    variables = {"tas": ("lat", "lon"), "pr": ("time", "lat", "lon")}
    path = netcdf(tmp_path / "a.nc", variables, SIZES)
    assert opened(path, subdataset="pr") == ("netCDF", (3, 5, 8))
    with open_raster(path, "a.nc", RasterSpec(subdataset="pr")) as found:
        assert found.subdataset == "pr"


@pytest.mark.parametrize("name", ["rain", 'tas":x', "/vsicurl/http://127.0.0.1/x.nc"])
def test_a_variable_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", {"tas": ("lat", "lon")}, {"lat": 5, "lon": 8})
    with pytest.raises(SpecError, match="tas"):
        opened(path, subdataset=name)


def test_bounds_of_cells_are_no_variable_to_choose(tmp_path: Path) -> None:
    variables = {"tas": ("lat", "lon"), "lat_bnds": ("lat", "bnds")}
    path = netcdf(tmp_path / "a.nc", variables, SIZES)
    with open_raster(path, "a.nc", RasterSpec()) as found:
        assert found.subdataset == "tas"
        assert "lat_bnds" in found.remarks[0]


def test_a_subdataset_of_a_format_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="Remove subdataset"):
        opened(tiff(tmp_path / "a.tif"), subdataset="tas")


def test_more_pages_than_one_are_said(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif")
    second = tiff(tmp_path / "b.tif")
    rasterio.shutil.copy(second, path, driver="GTiff", APPEND_SUBDATASET="YES")
    with open_raster(path, "a.tif", RasterSpec()) as found:
        assert "2 pages" in found.remarks[0]
