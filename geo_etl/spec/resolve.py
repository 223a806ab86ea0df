"""From sidecar files to one spec.

`NAME.ingest.yaml` beside a source (NAME with or without its extension) overrides
`_ingest.yaml` of its folder, which overrides that of the folder above, and so on up to the
container. Overrides given with a run come last.

Sources of both kinds may lie in one folder: what only the other kind knows is passed over in
`_ingest.yaml`, and nowhere else.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from geo_etl.errors import SpecError
from geo_etl.spec.identity import SourceRef
from geo_etl.spec.raster import RasterSpec
from geo_etl.spec.vector import VectorSpec

FOLDER_DEFAULTS = "_ingest.yaml"
MAX_VALUE_LENGTH = 200
"""Of a wrong value, in a message."""
SIDECAR_SUFFIX = ".ingest.yaml"
SpecT = TypeVar("SpecT", VectorSpec, RasterSpec)


_BAD_SCALARS = (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError)
"""What PyYAML lets through when a value can't be built: a date like 2020-13-45, say."""


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them can stand for gigabytes, or contain themselves."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def _has_text_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _has_text_keys(v) for k, v in value.items())
    return all(map(_has_text_keys, value)) if isinstance(value, list) else True


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
            values = yaml.load(text, _PlainLoader)  # noqa: S506 - it is a SafeLoader
        except (yaml.YAMLError, *_BAD_SCALARS) as error:
            said = " ".join(str(error).split())
            raise SpecError(origin, f"it is not plain YAML: {said}", "Correct the file.") from None
        if values is None:
            values = {}
        if not isinstance(values, dict) or not _has_text_keys(values):
            raise SpecError(
                origin, "it is not a list of 'key: value' lines", "See 'geo-etl spec --schema'."
            )
        return cls(origin, values)

    @property
    def is_folder_default(self) -> bool:
        """Whether these settings are meant for every source of a folder."""
        return self.origin.rpartition("/")[2] == FOLDER_DEFAULTS


def sidecar_names(source: SourceRef) -> list[str]:
    """Paths of the files that may hold settings for a source, the weakest first."""
    path = PurePosixPath(source.path)
    own = [str(path.with_suffix("")) + SIDECAR_SUFFIX, str(path) + SIDECAR_SUFFIX]
    return [*folder_defaults(source), *dict.fromkeys(own)]


def folder_defaults(source: SourceRef) -> list[str]:
    """Those of them that are meant for all sources of a folder."""
    folders = reversed(PurePosixPath(source.path).parents)
    return [str(folder / FOLDER_DEFAULTS) for folder in folders]


def resolve_vector_spec(layers: Sequence[SpecLayer]) -> VectorSpec:
    """Merge settings of a vector source, the weakest first, and check them.

    Nested settings are merged key by key; lists are replaced whole.

    Raises:
        SpecError: names the key, the value, what is allowed, and the file it came from.
    """
    return _resolve(VectorSpec, RasterSpec, layers)


def resolve_raster_spec(layers: Sequence[SpecLayer]) -> RasterSpec:
    """Merge settings of a raster source, or of a collection: as `resolve_vector_spec`."""
    return _resolve(RasterSpec, VectorSpec, layers)


def _resolve(model: type[SpecT], other: type[BaseModel], layers: Sequence[SpecLayer]) -> SpecT:
    own = [
        SpecLayer(layer.origin, _without_foreign(layer.values, model, other))
        if layer.is_folder_default
        else layer
        for layer in layers
    ]
    merged: dict[str, Any] = {}
    for layer in own:
        merged = _merge(merged, layer.values)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise _spec_error(error, own, model, other) from None


def _without_foreign(
    values: Mapping[str, Any], model: type[BaseModel], other: type[BaseModel]
) -> dict[str, Any]:
    """Settings without those that are none of a model, but of another."""
    own, foreign = _fields(model), _fields(other)
    kept = {key: value for key, value in values.items() if key in own or key not in foreign}
    for key, value in kept.items():
        mine, theirs = (_model_in(fields.get(key)) for fields in (own, foreign))
        if isinstance(value, Mapping) and mine is not None and theirs is not None:
            kept[key] = _without_foreign(value, mine, theirs)
    return kept


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _spec_error(
    error: ValidationError,
    layers: Sequence[SpecLayer],
    model: type[BaseModel],
    other: type[BaseModel],
) -> SpecError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path) or "spec"
    origin = _origin(path, layers)
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed_keys(path[:-1], model))
        problem = "it is unknown"
        if _is_foreign(path, model, other):
            theirs, ours = ("rasters", "vectors") if model is VectorSpec else ("vectors", "rasters")
            problem = f"it is a setting of {theirs}, and this is one for {ours}"
        return SpecError(f"{origin}: key '{key}'", problem, f"Known keys: {allowed}.")
    value = textwrap.shorten(
        json.dumps(first["input"], ensure_ascii=False, default=str),
        MAX_VALUE_LENGTH,
        placeholder=" …",
    )
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return SpecError(
        f"{origin}: key '{key}'", f"{value} is not allowed", f"{message[:1].upper()}{message[1:]}."
    )


def _origin(path: Sequence[str], layers: Sequence[SpecLayer]) -> str:
    """Where a setting came from: the last place that has it."""
    for layer in reversed(layers):
        if _has(layer.values, path):
            return layer.origin
    return layers[-1].origin if layers else "spec"


def _has(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if isinstance(values, list):
            return True  # lists are replaced whole: this is the place
        keys = {str(key): key for key in values} if isinstance(values, Mapping) else {}
        if part not in keys:
            return False
        values = values[keys[part]]
    return True


def _is_foreign(path: Sequence[str], model: type[BaseModel], other: type[BaseModel]) -> bool:
    """Whether a key is unknown to a model, but not to another."""
    nested: dict[str, Any] = {path[-1]: None}
    for part in reversed(path[:-1]):
        nested = {part: nested}
    return not _has(_without_foreign(nested, model, other), path)


def _allowed_keys(path: Sequence[str], model: type[BaseModel]) -> list[str]:
    for part in path:
        # A name that is the user's own, a column's, is no field: its rule's model is there already.
        model = _model_in(_fields(model).get(part)) or model
    return sorted(_fields(model))


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Types of a model's fields by the keys that users write."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is, or holds: `Model | None`, `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
