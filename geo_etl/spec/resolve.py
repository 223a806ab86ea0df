"""From sidecar files to one spec.

`NAME.ingest.yaml` beside a source (NAME with or without its extension) overrides
`_ingest.yaml` of its folder, which overrides that of the folder above, and so on up to the
container. Overrides given with a run come last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from geo_etl.errors import SpecError
from geo_etl.spec.identity import SourceRef
from geo_etl.spec.vector import VectorSpec

FOLDER_DEFAULTS = "_ingest.yaml"
SIDECAR_SUFFIX = ".ingest.yaml"


@dataclass(frozen=True)
class SpecLayer:
    """Settings from one place, and the place's name for messages."""

    origin: str
    values: Mapping[str, Any]

    @classmethod
    def from_yaml(cls, origin: str, text: str) -> "SpecLayer":
        """Read one sidecar file.

        Raises:
            SpecError: it is not YAML, or not a mapping.
        """
        try:
            values = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise SpecError(origin, f"it is not YAML: {error}", "Correct the file.") from None
        if values is None:
            values = {}
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise SpecError(
                origin, "it is not a list of 'key: value' lines", "See 'geo-etl spec --schema'."
            )
        return cls(origin, values)


def sidecar_names(source: SourceRef) -> list[str]:
    """Paths of the files that may hold settings for a source, the weakest first."""
    path = PurePosixPath(source.path)
    folders = reversed(path.parents)
    defaults = [str(folder / FOLDER_DEFAULTS) for folder in folders]
    own = [str(path.with_suffix("")) + SIDECAR_SUFFIX, str(path) + SIDECAR_SUFFIX]
    return [*defaults, *dict.fromkeys(own)]


def resolve_vector_spec(layers: Sequence[SpecLayer]) -> VectorSpec:
    """Merge settings, the weakest first, and check them.

    Nested settings are merged key by key; lists are replaced whole.

    Raises:
        SpecError: names the key, the value, what is allowed, and the file it came from.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer.values)
    try:
        return VectorSpec.model_validate(merged)
    except ValidationError as error:
        raise _spec_error(error, layers) from None


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _spec_error(error: ValidationError, layers: Sequence[SpecLayer]) -> SpecError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path) or "spec"
    origin = _origin(path, layers)
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed_keys(path[:-1]))
        return SpecError(f"{origin}: key '{key}'", "it is unknown", f"Known keys: {allowed}.")
    value = json.dumps(first["input"], ensure_ascii=False, default=str)
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return SpecError(
        f"{origin}: key '{key}'", f"{value} is not allowed", f"{message[:1].upper()}{message[1:]}."
    )


def _origin(path: Sequence[str], layers: Sequence[SpecLayer]) -> str:
    for layer in reversed(layers):
        values: Any = layer.values
        for part in path:
            if not isinstance(values, Mapping) or part not in values:
                break
            values = values[part]
        else:
            return layer.origin
    return layers[-1].origin if layers else "spec"


def _allowed_keys(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = VectorSpec
    for part in path:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return sorted(field.alias or name for name, field in model.model_fields.items())
