"""`python -m benchmarks [--quick] [NAME …]`: run benchmarks, on a private stack if need be."""

import sys

from benchmarks import overhead, raster, sync, vector_load
from benchmarks.stack import private_stack

ON_STACK = {
    "overhead": overhead.run,
    "growth": vector_load.growth,
    "formats": vector_load.formats,
    "sync": sync.run,
}
ALONE = {
    "raster": raster.compare,
    "large": raster.large,
}
"""These take `--quick`: small rasters, to see that they run."""


def main() -> None:
    names = [name for name in sys.argv[1:] if name != "--quick"] or [*ON_STACK, *ALONE]
    unknown = [name for name in names if name not in {**ON_STACK, **ALONE}]
    if unknown:
        sys.exit(f"No benchmark {unknown[0]}; there are: {', '.join([*ON_STACK, *ALONE])}")
    for name in names:
        print(f"\n## {name}\n", flush=True)
        if name in ALONE:
            ALONE[name](quick="--quick" in sys.argv)
            continue
        with private_stack() as stack:
            ON_STACK[name](stack)


if __name__ == "__main__":
    main()
