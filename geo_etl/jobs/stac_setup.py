"""Install or migrate pgSTAC, and see to its settings, queryables and collections."""

from typing import Any

from dagster import MetadataValue, Out, Output, TableRecord, job, op

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.stac_setup import set_up


@op(
    out=Out(dict),
    retry_policy=TRANSIENT_RETRIES,
    description="May be repeated: what is as it should be is left, and said to be so.",
)
def prepare_catalogue(postgis: PostGISResource) -> Output[dict[str, Any]]:
    with op_faults():
        steps = set_up(postgis.database_url)
    changed = sum(bool(step.done) for step in steps)
    result = {
        "changed": changed,
        "steps": [{"what": one.what, "found": one.found, "done": one.done} for one in steps],
    }
    summary = f"{changed} of {len(steps)} changed" if changed else "nothing had to be changed"
    rows = [
        TableRecord({"what": one.what, "found": one.found, "done": one.done or "nothing"})
        for one in steps
    ]
    return Output(result, metadata={"summary": summary, "steps": MetadataValue.table(rows)})


@job(description=__doc__)
def stac_setup() -> None:
    prepare_catalogue()
