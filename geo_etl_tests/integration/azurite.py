"""A real blob service of our own: Azurite, on a free port, with its content in memory."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

ACCOUNT = "devstoreaccount1"
# Every Azurite has this account with this key. It opens nothing else.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_SECONDS = 60


def find_azurite(project: Path) -> Path | None:
    """The executable that npm put into the project, else the one in PATH."""
    installed = project / ".tools" / "node_modules" / ".bin" / "azurite-blob"
    found = installed if installed.exists() else shutil.which("azurite-blob")
    return Path(found) if found else None


@contextmanager
def run_azurite(executable: Path, folder: Path) -> Iterator[str]:
    """Azurite for as long as the block lasts: the connection string of its account.

    Args:
        folder: its working folder; nothing of use is left there.
    """
    # It picks the port itself, so no other process can take it first.
    options = ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck"]
    command = [executable, *options, "--silent", "--disableTelemetry"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            url = _address(process)
            yield (
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
                f"BlobEndpoint={url}/{ACCOUNT};"
            )
        finally:
            _stop(process)


def _address(process: subprocess.Popen[str]) -> str:
    """Where it listens: it says so as soon as it answers."""
    assert process.stdout is not None
    said = []
    late = Timer(START_SECONDS, process.kill)
    late.start()
    try:
        for line in process.stdout:
            said.append(line)
            if "successfully listens on" in line:
                return line.split()[-1]
    finally:
        late.cancel()
    raise RuntimeError(f"Azurite did not start:\n{''.join(said)}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
