"""Who may import whom, and what may stand where."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

import geo_etl

ROOT = Path(geo_etl.__file__).parent
PURE = ("vector", "raster", "catalog", "report", "spec", "ingest")
# A part may import parts of its own line and of the lines below it.
LINES = [
    ["definitions", "cli"],
    ["assets", "jobs", "schedules", "sensors", "stack"],
    ["resources"],
    list(PURE),
    ["errors"],
]
# Read by every part that knows Dagster or the environment.
SHARED = {"settings", "partitions", "preload", "startup", "errors", ""}


@cache
def imports() -> list[tuple[str, str]]:
    """Every import as importer and imported module, packages from outside included."""
    graph = grimp.build_graph("geo_etl", include_external_packages=True, cache_dir=None)
    return [
        (importer, imported)
        for importer in graph.modules
        if importer.startswith("geo_etl")
        for imported in graph.find_modules_directly_imported_by(importer)
    ]


def part(module: str) -> str:
    """`vector` of `geo_etl.vector.names`; '' of `geo_etl` itself."""
    return module.partition(".")[2].partition(".")[0]


def internal() -> list[tuple[str, str]]:
    return [pair for pair in imports() if pair[1].split(".")[0] == "geo_etl"]


def line(name: str) -> int:
    return next(number for number, parts in enumerate(LINES) if name in parts)


@cache
def trees() -> dict[str, ast.Module]:
    """Syntax tree of each module by its path in the package."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for path in sorted(ROOT.rglob("*.py"))
    }


def test_every_part_has_a_line() -> None:
    parts = {part(importer) for importer, _ in imports()} - SHARED
    assert parts <= {name for names in LINES for name in names}
    assert {"vector", "spec", "resources", "assets", "definitions"} <= parts


def test_imports_never_go_upwards() -> None:
    upwards = [
        (importer, imported)
        for importer, imported in internal()
        if part(importer) not in SHARED
        and part(imported) not in SHARED
        and line(part(imported)) < line(part(importer))
    ]
    assert upwards == []


@pytest.mark.parametrize("name", sorted(SHARED - {""}))
def test_shared_module_imports_at_most_errors(name: str) -> None:
    used = {imported for importer, imported in internal() if importer == f"geo_etl.{name}"}
    assert used <= {"geo_etl.errors"}


def test_pure_packages_import_no_dagster() -> None:
    found = [
        (importer, imported)
        for importer, imported in imports()
        if part(importer) in PURE and imported.startswith("dagster")
    ]
    assert found == []


def test_pure_packages_import_only_each_other_and_errors() -> None:
    found = [
        (importer, imported)
        for importer, imported in internal()
        if part(importer) in PURE and part(imported) not in {*PURE, "errors"}
    ]
    assert found == []


def test_spec_imports_no_other_pure_package() -> None:
    used = {part(imported) for importer, imported in internal() if part(importer) == "spec"}
    assert used <= {"spec", "errors"}


def test_only_the_command_imports_the_stack() -> None:
    users = {part(importer) for importer, imported in internal() if part(imported) == "stack"}
    assert users <= {"cli", "stack"}


def test_the_graph_sees_imports() -> None:
    assert ("geo_etl.assets.vector", "dagster") in imports()
    assert ("geo_etl.vector.chunk", "geo_etl.spec") in imports()


def test_importing_the_pure_packages_does_not_load_dagster() -> None:
    code = (
        "import sys; import geo_etl.spec, geo_etl.vector.ingest, geo_etl.catalog.vectors,"
        " geo_etl.report.result; print(sorted(m for m in sys.modules if 'dagster' in m))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


# The environment


def environment_uses(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and node.attr in {"environ", "environb", "getenv", "putenv"}
        ):
            found.append(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            found += [alias.name for alias in node.names if "env" in alias.name]
    return found


def test_only_the_settings_read_the_environment() -> None:
    users = {path for path, tree in trees().items() if environment_uses(tree)}
    assert users == {"settings.py"}


# SQL

SQL = re.compile(
    r"^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|TRUNCATE|ANALYZE|GRANT|COPY|"
    r"SET LOCAL|WITH \w+ AS)\s"
)


def sql_texts(tree: ast.Module) -> list[str]:
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and SQL.match(node.value)
    ]


def test_sql_stands_only_where_the_database_is_spoken_to() -> None:
    places = {path.split("/")[0] for path, tree in trees().items() if sql_texts(tree)}
    assert places == {"vector", "raster", "resources", "stack"}


# Connections

NO_CONNECTIONS = """
import sys

def forbid(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen"):
        raise RuntimeError(f"{event} {args}")

sys.addaudithook(forbid)
import geo_etl.definitions
definitions = geo_etl.definitions.defs
definitions.resolve_job_def("ingest_vector")
print(sorted(definitions.resources))
"""


def test_loading_the_definitions_connects_to_nothing(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GEO_ETL_")
    }
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", NO_CONNECTIONS],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "GEO_ETL_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['blobs', 'postgis', 'serving']"
    assert list(home.iterdir()) == []
