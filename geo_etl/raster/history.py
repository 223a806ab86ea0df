"""Going back: an earlier version of a published raster layer, or no layer at all."""

import sqlalchemy as sa

from geo_etl.errors import PublishError
from geo_etl.raster.layers import Version, items_of, published_version, versions_of
from geo_etl.raster.publish import Catalogue, begin, change, check_alone, make_current, remove


def rollback(engine: sa.Engine, layer: str, number: int | None, catalogue: Catalogue) -> Version:
    """Let readers see an earlier version again, with its STAC items.

    Args:
        number: of the version; None for the one before the current.

    Raises:
        PublishError: there is no such version, or its files are no longer kept; or the layer is a
            collection, or a member of one.
    """
    with engine.begin() as connection:
        begin(connection, layer)
        current = published_version(connection, layer)
        check_alone(connection, current, "rolled back")
        wanted = _choose(connection, current, number)
        catalogue(connection, [change(wanted, items_of(connection, wanted), current)])
        make_current(connection, layer, wanted.number)
    return wanted


def _choose(connection: sa.Connection, current: Version, number: int | None) -> Version:
    thing = f"raster layer {current.layer}"
    if current.form == "collection":
        raise PublishError(
            thing,
            "a collection has no earlier version: it is what its members are",
            f"Change the files below {current.source}, then 'geo-etl ingest {current.source}/'.",
        )
    others = [
        version
        for version in versions_of(connection, current.layer)
        if version.load_id is not None and version.number != current.number
    ]
    known = ", ".join(str(version.number) for version in others) or "none"
    if number == current.number:
        raise PublishError(
            thing, f"version {number} is the one that readers see", f"Others: {known}."
        )
    earlier = [version for version in others if version.number < current.number]
    found = [version for version in others if version.number == number]
    if number is None and earlier:
        return earlier[-1]
    if found:
        return found[0]
    what = "an earlier version" if number is None else f"version {number}"
    raise PublishError(
        thing,
        f"{what} is not kept",
        f"Versions that can be restored: {known}. GEO_ETL_VERSIONS_KEPT says how many are kept.",
    )


def unpublish(engine: sa.Engine, layer: str, catalogue: Catalogue) -> Version:
    """Remove a layer with its STAC items and all of its versions; of a collection, its members.

    Its blobs are noted to be removed.

    Returns:
        The version that readers saw.

    Raises:
        PublishError: geo_etl publishes no such layer, or it is a member of a collection.
    """
    with engine.begin() as connection:
        begin(connection, layer, ends=True)
        current = published_version(connection, layer)
        check_alone(connection, current, "unpublished")
        catalogue(connection, remove(connection, current))
    return current
