"""Rasters made to do harm: refused with a way out, in bounded time and memory, in silence."""

import http.server
import itertools
import os
import resource
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioIOError

from geo_etl.errors import GeoEtlError, SourceError
from geo_etl.raster.inspect import inspect
from geo_etl.raster.opening import open_raster
from geo_etl.spec import RasterSpec
from geo_etl_tests.unit.test_raster_opening import UTM, WORLD_FILE, converted, tiff

SECONDS = 20
MEGABYTES = 600
"""By how much the process may grow over a refused file."""
SECRET = 77
"""The value of every pixel of the file that nobody may read."""


def secret(folder: Path) -> Path:
    """A raster that a source must not be able to show."""
    (folder / "elsewhere").mkdir(exist_ok=True)
    pixels = np.full((1, 32, 32), SECRET, "uint8")
    return tiff(folder / "elsewhere" / "secret.tif", pixels)


def vrt(folder: Path) -> str:
    """A document that shows the secret."""
    band = (
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>'
        f"{secret(folder)}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
    )
    return f'<VRTDataset rasterXSize="8" rasterYSize="8">{band}</VRTDataset>'


def look(path: Path, **spec: Any) -> Any:
    settings = RasterSpec(**spec)
    with open_raster(path, f"bronze/{path.name}", settings) as found:
        return inspect(found, path.name, settings)


# Indirection


@pytest.mark.parametrize("extension", ["tif", "jp2", "png", "jpg", "img", "nc"])
@pytest.mark.parametrize("kind", ["vrt", "gti", "wms"])
def test_a_document_in_disguise_is_never_followed(
    kind: str, extension: str, tmp_path: Path
) -> None:
    documents = {
        "vrt": vrt(tmp_path),
        "gti": f"<GDALTileIndexDataset><IndexDataset>{secret(tmp_path)}</IndexDataset>",
        "wms": "<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1/</ServerUrl></Service>",
    }
    path = tmp_path / f"x.{extension}"
    path.write_text(documents[kind])
    with pytest.raises(SourceError, match="whatever its name says"):
        look(path)


def test_a_document_in_disguise_in_a_zip_is_never_followed(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.tif", vrt(tmp_path))
    with pytest.raises(SourceError, match="whatever its name says"):
        look(path)


def test_a_mask_that_is_a_vrt_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif")
    Path(f"{path}.msk").write_text(vrt(tmp_path))
    with pytest.raises(SourceError, match="mask"):
        look(path)


def overviews_elsewhere(folder: Path, index: int) -> Path:
    path = tiff(folder / "x.tif", np.zeros((1, 64, 64), "uint8"))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(index, ns="OVERVIEWS", OVERVIEW_FILE=str(secret(folder)))
    return path


@pytest.mark.parametrize("index", [0, 1])
def test_overviews_in_another_file_are_refused(index: int, tmp_path: Path) -> None:
    path = overviews_elsewhere(tmp_path, index)
    if index == 0:
        with rasterio.open(path) as dataset:  # the danger is real
            assert dataset.read(1, out_shape=(32, 32)).max() == SECRET
    with pytest.raises(SourceError, match="OVERVIEWS"):
        look(path)


def test_a_mask_with_overviews_in_another_file_is_refused(tmp_path: Path) -> None:
    mask = overviews_elsewhere(tmp_path, 0)
    mask.rename(tmp_path / "y.tif.msk")
    with pytest.raises(SourceError, match="OVERVIEWS"):
        look(tiff(tmp_path / "y.tif", np.zeros((1, 64, 64), "uint8")))


def test_positions_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif")
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="GEOLOCATION", X_DATASET=str(secret(tmp_path)))
    with pytest.raises(SourceError, match="GEOLOCATION"):
        look(path)


def test_an_aux_xml_names_no_other_file(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif", np.zeros((1, 64, 64), "uint8"))
    Path(f"{path}.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{secret(tmp_path)}'
        "</MDI></Metadata></PAMDataset>"
    )
    with rasterio.open(path) as dataset:
        assert dataset.read(1, out_shape=(32, 32)).max() == SECRET
    with open_raster(path, "x.tif", RasterSpec()) as found:
        assert found.dataset.read(1, out_shape=(32, 32)).max() == 0


def test_an_imagine_file_with_pixels_in_another_file_is_refused(tmp_path: Path) -> None:
    source = tiff(tmp_path / "x.tif", np.full((1, 64, 64), SECRET, "uint8"))
    path = tmp_path / "x.img"
    rasterio.shutil.copy(source, path, driver="HFA", USE_SPILL="YES")
    with rasterio.open(path) as dataset:
        assert dataset.read().max() == SECRET
    with pytest.raises(SourceError, match="ExternalRasterDMS"):
        look(path)


def hdf5(path: Path, fill: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def other_hdf5(folder: Path) -> Path:
    (folder / "elsewhere").mkdir(exist_ok=True)
    values = np.full((8, 8), SECRET, "f4")
    return hdf5(
        folder / "elsewhere" / "secret.nc", lambda file: file.create_dataset("v", data=values)
    )


def link(folder: Path) -> Path:
    other = other_hdf5(folder)

    def fill(file: h5py.File) -> None:
        file["v"] = h5py.ExternalLink(other, "/v")

    return hdf5(folder / "x.nc", fill)


def deep_link(folder: Path) -> Path:
    other = other_hdf5(folder)

    def fill(file: h5py.File) -> None:
        file.create_dataset("v", data=np.ones((8, 8), "f4"))
        file.create_group("a/b/c")["v"] = h5py.ExternalLink(other, "/v")

    return hdf5(folder / "x.nc", fill)


def virtual(folder: Path) -> Path:
    layout = h5py.VirtualLayout((8, 8), "f4")
    layout[:] = h5py.VirtualSource(other_hdf5(folder), "v", (8, 8))
    return hdf5(folder / "x.nc", lambda file: file.create_virtual_dataset("v", layout))


def external(folder: Path) -> Path:
    raw = folder / "elsewhere.raw"
    np.full((8, 8), SECRET, "f4").tofile(raw)
    return hdf5(
        folder / "x.nc",
        lambda file: file.create_dataset("v", (8, 8), "f4", external=[(str(raw), 0, 256)]),
    )


@pytest.mark.parametrize("make", [link, deep_link, virtual, external])
def test_a_netcdf_that_takes_data_from_other_files_is_refused(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="other files"):
        look(make(tmp_path))


def circle(file: h5py.File) -> None:
    file.create_group("a")["again"] = file["/"]


def soft_circle(file: h5py.File) -> None:
    file.create_group("a")["again"] = h5py.SoftLink("/a")


def deep(file: h5py.File) -> None:
    file.create_group("/".join("a" * 5000))


@pytest.mark.parametrize("fill", [circle, soft_circle, deep])
def test_groups_without_an_end_are_refused(
    fill: Callable[[h5py.File], None], tmp_path: Path
) -> None:
    # The reader of NetCDF would follow them until the process dies.
    with pytest.raises(SourceError, match="without an end"):
        look(hdf5(tmp_path / "x.nc", fill))


def test_no_network_is_touched(tmp_path: Path) -> None:
    asked: list[str] = []

    class Ear(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"/vsicurl/http://127.0.0.1:{server.server_port}"
        with open_raster(tiff(tmp_path / "x.tif"), "x.tif", RasterSpec()):
            with pytest.raises(RasterioIOError):
                rasterio.open(f"{url}/forbidden.tif")
            assert asked == []
        with pytest.raises(RasterioIOError):
            rasterio.open(f"{url}/allowed.tif")
        assert "/allowed.tif" in asked
        server.shutdown()


# Size


def sparse(path: Path, side: int, rows: int, **options: Any) -> Path:
    """A GeoTIFF of a few bytes that declares a square of bytes, in blocks of so many rows."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=1,
        dtype="uint8",
        crs="EPSG:32632",
        transform=UTM,
        blockysize=rows,
        SPARSE_OK=True,
        compress="LZW",
        **options,
    ):
        pass
    return path


def test_pixels_out_of_all_proportion_to_the_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"40000 × 40000.*limits.max_expansion"):
        look(sparse(tmp_path / "x.tif", 40_000, 16))


def test_the_limit_of_declared_pixels_can_be_set(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"limits.max_uncompressed_gb"):
        look(sparse(tmp_path / "x.tif", 4000, 16), limits={"max_uncompressed_gb": 0.01})


def test_the_limit_of_bands_can_be_set(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif", np.zeros((9, 4, 4), "uint8"))
    with pytest.raises(SourceError, match=r"9 bands; the limit is 8.*limits.max_bands"):
        look(path, limits={"max_bands": 8})


def test_the_limit_of_the_file_can_be_set(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif", np.zeros((1, 400, 400), "uint8"))
    with pytest.raises(SourceError, match=r"limits.max_file_size_gb"):
        look(path, limits={"max_file_size_gb": 0.0001})


def test_a_block_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"blocks of 288 MB.*TILED=YES"):
        look(sparse(tmp_path / "x.tif", 24_000, 12_000))


def test_a_netcdf_chunk_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    path = hdf5(
        tmp_path / "x.nc",
        lambda file: file.create_dataset(
            "v", (20_000, 20_000), "f4", chunks=(20_000, 20_000), compression="gzip"
        ),
    )
    with pytest.raises(SourceError, match="blocks of 1,600 MB"):
        look(path)


# Content that lies


def noise(start: bytes) -> bytes:
    return start + bytes(range(256)) * 40


def tall_tree() -> bytes:
    """An `.img` whose tree of nodes is a circle."""
    header = b"EHFA_HEADER_TAG\0" + struct.pack("<i", 20)
    node = struct.pack("<6i64s32s", 40, 0, 0, 40, 0, 0, b"n", b"t")
    return header + struct.pack("<3i", 1, 0, 40) + bytes(8) + node + bytes(200)


def many_netcdf_dimensions() -> bytes:
    return b"CDF\x01" + bytes(4) + struct.pack(">II", 10, 2**31 - 1) + bytes(1000)


def png_of(width: int, height: int) -> bytes:
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + start + data + chunk(b"IEND", b"")


FILES = {
    "noise as tif": ("x.tif", noise(b"II*\0")),
    "noise as bigtiff": ("x.tif", noise(b"II+\0")),
    "noise as jp2": ("x.jp2", noise(b"\0\0\0\x0cjP  \r\n\x87\n")),
    "noise as codestream": ("x.jp2", noise(b"\xff\x4f\xff\x51")),
    "noise as png": ("x.png", noise(b"\x89PNG\r\n\x1a\n")),
    "noise as jpg": ("x.jpg", noise(b"\xff\xd8\xff\xe0")),
    "noise as img": ("x.img", noise(b"EHFA_HEADER_TAG\0")),
    "noise as classic netcdf": ("x.nc", noise(b"CDF\x01")),
    "noise as hdf5": ("x.nc", noise(b"\x89HDF\r\n\x1a\n")),
    "noise as hgt": ("N10E010.hgt", noise(b"")),
    "noise as zip": ("x.zip", noise(b"PK\x03\x04")),
    "tree in a circle": ("x.img", tall_tree()),
    "netcdf of many dimensions": ("x.nc", many_netcdf_dimensions()),
    "interlaced png of 10¹⁰ pixels": ("x.png", png_of(100_000, 100_000)),
    "png of 2³¹ columns": ("x.png", png_of(2**31 - 1, 2**31 - 1)),
    "tif that ends in its first directory": ("x.tif", b"II*\0\x08\0\0\0\xff\xff"),
    "tif whose directory is itself": ("x.tif", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
}


@pytest.mark.parametrize("what", FILES)
def test_content_that_lies_is_refused(
    what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name, content = FILES[what]
    path = tmp_path / name
    path.write_bytes(content)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(GeoEtlError) as raised:
        look(path)
    assert raised.value.remedy
    assert time.monotonic() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
    assert capfd.readouterr() == ("", "")


def entities(levels: int) -> str:
    names = "abcdefghijklmnop"[:levels]
    declared = '<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {after} "{f"&{before};" * 10}">' for before, after in itertools.pairwise(names)
    )
    return (
        f"<!DOCTYPE PAMDataset [{declared}]><PAMDataset><Metadata><MDI key='k'>&{names[-1]};</MDI>"
    )


@pytest.mark.parametrize(
    "content",
    [
        entities(12),
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><PAMDataset>&b;</PAMDataset>',
        "<a>" * 100_000,
        "<PAMDataset><Metadata>" + "<a>" * 50 + "</a>" * 50 + "</Metadata></PAMDataset>",
        "no xml",
    ],
    ids=["bomb", "file", "deep", "closed and deep", "no xml"],
)
def test_an_aux_xml_that_does_harm_is_refused(content: str, tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif")
    Path(f"{path}.aux.xml").write_text(content)
    with pytest.raises(SourceError, match=r"'x.tif.aux.xml'"):
        look(path)


def test_a_sibling_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    path = converted(tmp_path / "x.jpg", "JPEG")
    with path.with_suffix(".jgw").open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(SourceError, match="far too large"):
        look(path)


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.tif", bytes(50_000_000))
    with pytest.raises(SourceError, match="max_file_size_gb"):
        look(path, limits={"max_file_size_gb": 0.01})


# Silence and traces


def test_nothing_is_left_in_the_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    path = tiff(tmp_path / "x.tif")
    look(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError):
        look(path)
    assert list(scratch.iterdir()) == []


def test_a_process_prints_nothing_about_damaged_files(tmp_path: Path) -> None:
    broken = []
    for extension, driver in {"jp2": "JP2OpenJPEG", "jpg": "JPEG", "png": "PNG"}.items():
        path = converted(tmp_path / f"x.{extension}", driver)
        path.with_suffix(f".{extension[0]}{extension[-1]}w").write_text(WORLD_FILE)
        path.write_bytes(path.read_bytes()[:-200])
        broken.append(path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom geo_etl.errors import SourceError\n"
        "from geo_etl.raster.inspect import inspect\n"
        "from geo_etl.raster.opening import open_raster\nfrom geo_etl.spec import RasterSpec\n"
        "spec = RasterSpec(source_crs='EPSG:32632')\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        with open_raster(Path(name), name, spec) as found:\n"
        "            inspect(found, name, spec)\n"
        "    except SourceError:\n"
        "        print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, broken)],
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    assert (done.stdout.split(), done.stderr) == (["refused"] * 3, "")
