"""Schedules: what runs by the clock."""

from dagster import DefaultScheduleStatus, ScheduleDefinition

from geo_etl.jobs.cleanup import cleanup

nightly_cleanup = ScheduleDefinition(
    name="nightly_cleanup",
    job=cleanup,
    cron_schedule="30 2 * * *",
    default_status=DefaultScheduleStatus.RUNNING,
)

default_schedules = [nightly_cleanup]

__all__ = ["default_schedules"]
