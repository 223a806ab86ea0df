"""Sensors: what starts runs by itself."""

from geo_etl.sensors.arrivals import bronze_arrivals

default_sensors = [bronze_arrivals]

__all__ = ["default_sensors"]
