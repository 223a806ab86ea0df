"""Re-execute a run as Dagster does: `python -m … RUN_ID failure|all`. Prints what came of it."""

import json
import sys

from dagster import DagsterRunStatus, ReexecutionOptions, execute_job
from dagster._core.definitions.reconstruct import ReconstructableRepository

from geo_etl.settings import export_home, get_settings
from geo_etl.stack.dagster_instance import open_instance

if __name__ == "__main__":
    run_id, what = sys.argv[1:]
    export_home(get_settings().home)
    repository = ReconstructableRepository.for_module("geo_etl.definitions", "defs")
    with open_instance() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        if run.status == DagsterRunStatus.STARTED:
            # What run monitoring does when it finds a worker dead.
            instance.report_run_failed(run)
        options = (
            ReexecutionOptions.from_failure(run_id, instance)
            if what == "failure"
            else ReexecutionOptions(run_id)
        )
        with execute_job(
            repository.get_reconstructable_job(run.job_name),
            instance,
            tags={"dagster/partition": run.tags["dagster/partition"]},
            reexecution_options=options,
        ) as result:
            failures = [
                event.step_failure_data.error_display_string
                for event in result.all_events
                if event.is_step_failure
            ]
            steps = [event.step_key for event in result.all_events if event.is_step_success]
            print(  # noqa: T201
                json.dumps(
                    {
                        "run_id": result.run_id,
                        "success": result.success,
                        "failures": failures,
                        "steps": steps,
                    }
                )
            )
