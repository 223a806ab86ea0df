"""`python -m geo_etl.cli`."""

from geo_etl.cli import main

main()
