"""Sensors: what starts runs by itself."""

from geo_etl.sensors.arrivals import bronze_arrivals
from geo_etl.sensors.dead_runs import dead_runs

default_sensors = [bronze_arrivals, dead_runs]

__all__ = ["default_sensors"]
