# Every command works on a fresh clone; what is missing is installed first (scripts/setup.sh).
.PHONY: setup demo test check bench lock

setup:
	@scripts/setup.sh

demo: setup
	@.venv/bin/geo-etl demo

# Hundreds of processes are started: what they import is compiled once.
test:
	@scripts/setup.sh tests
	@PYTHONDONTWRITEBYTECODE= .venv/bin/pytest -n 3

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pytest -q -p no:cacheprovider geo_etl_tests/unit/test_imports.py

bench:
	@scripts/setup.sh bench
	.venv/bin/python -m benchmarks

# Raises every pin to the newest that fits; needs uv.
lock:
	uv pip compile pyproject.toml --extra dev --generate-hashes --no-strip-extras --upgrade \
		--python-version 3.11 --custom-compile-command "make lock" -o requirements.lock
