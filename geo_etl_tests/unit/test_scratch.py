"""Folders for temporary files: whose process lives stays, what a dead one left goes."""

import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from geo_etl.ingest.scratch import remove_dead_scratch, scratch_folder

HOLD = """
import sys
from geo_etl.ingest.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "half.tif").write_bytes(b"half")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def test_a_folder_goes_with_its_block(temporary: Path) -> None:
    with scratch_folder() as folder:
        (folder / "a.tif").write_bytes(b"a")
        assert folder.parent == temporary
    assert list(temporary.iterdir()) == []


def test_only_what_a_dead_process_left_is_removed(temporary: Path) -> None:
    with (
        scratch_folder() as mine,
        subprocess.Popen(
            [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        assert remove_dead_scratch(later()) == 0
        assert theirs.is_dir()
        other.kill()
        other.wait()
        assert remove_dead_scratch(later()) == 1
        assert not theirs.exists()
        assert mine.is_dir()


def test_what_is_young_stays(temporary: Path) -> None:
    left = Path(tempfile.mkdtemp(prefix="geo_etl-scratch-"))
    assert remove_dead_scratch(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert left.is_dir()


def test_what_is_not_ours_stays(temporary: Path) -> None:
    other = temporary / "geo_etl-test-1"
    other.mkdir()
    assert remove_dead_scratch(later()) == 0
    assert other.is_dir()
