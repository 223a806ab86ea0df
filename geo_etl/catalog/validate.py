"""STAC items and collections against their JSON Schemas, without a network.

The core schemas lie in pystac, that of PROJJSON in pyproj, those of the extensions in `schemas`.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyproj
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from geo_etl.errors import CatalogueError

STAC_VERSION = "1.1.0"
CORE = {
    kind: f"https://schemas.stacspec.org/v{STAC_VERSION}/{name}-spec/json-schema/{name}.json"
    for kind, name in (("Feature", "item"), ("Collection", "collection"))
}
PROJJSON = "https://proj.org/schemas/v0.7/projjson.schema.json"
SHOWN_CHARACTERS = 200


def validate(document: dict[str, Any]) -> None:
    """Check an item or a collection against STAC and every extension that it declares.

    Raises:
        CatalogueError: it breaks a schema, or declares an extension whose schema is not here;
            with the JSON path of what is wrong.
    """
    name = f"STAC {document.get('type')} '{document.get('id')}'"
    core = CORE.get(str(document.get("type")))
    if core is None or document.get("stac_version") != STAC_VERSION:
        raise CatalogueError(
            name,
            f"its type is {document.get('type')!r} and its stac_version "
            f"{document.get('stac_version')!r}",
            f"Write an item (Feature) or a Collection of STAC {STAC_VERSION}.",
        )
    for uri in (core, *document.get("stac_extensions", [])):
        validator = _validator(uri)
        if validator is None:
            raise CatalogueError(
                name,
                f"it declares {uri}, of which geo_etl has no schema",
                "Leave the extension out, or add its schema to geo_etl/catalog/schemas.",
            )
        error = next(iter(validator.iter_errors(document)), None)
        if error is not None:
            cause = max(_causes(error), key=lambda one: len(one.absolute_path))
            raise CatalogueError(
                name,
                f"{cause.json_path} breaks {uri}: {_short(cause.message)}",
                "Correct the facts that it was made from.",
            )


def _causes(error: ValidationError) -> Iterator[ValidationError]:
    """The errors below one: of alternatives, each says why it does not fit."""
    if not error.context:
        yield error
    for part in error.context or ():
        yield from _causes(part)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} …"


@cache
def _validator(uri: str) -> Draft7Validator | None:
    schema = _schemas().get(uri)
    return None if schema is None else Draft7Validator(schema, registry=_registry())


@cache
def _registry() -> Any:
    return Registry().with_resources(
        [(uri, Resource.from_contents(schema)) for uri, schema in _schemas().items()]
    )


@cache
def _schemas() -> dict[str, dict[str, Any]]:
    """Every schema there is, by its address."""
    found: dict[str, dict[str, Any]] = dict(get_local_schema_cache())
    for file in files("geo_etl.catalog").joinpath("schemas").iterdir():
        name, _, version = file.name.removesuffix(".json").rpartition("-")
        if file.name.endswith(".json"):
            uri = f"https://stac-extensions.github.io/{name}/{version}/schema.json"
            found[uri] = json.loads(file.read_text(encoding="utf-8"))
    projjson = Path(pyproj.datadir.get_data_dir()) / "projjson.schema.json"
    found[PROJJSON] = json.loads(projjson.read_text(encoding="utf-8"))
    return found
