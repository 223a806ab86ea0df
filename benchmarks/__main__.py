"""`python -m benchmarks [--quick] [NAME …]`: run benchmarks, on a private stack if need be."""

import sys

from benchmarks import catalogue, overhead, raster, sync, vector_load
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
ON_STACK_OR_QUICK = {
    "catalogue": catalogue.run,
}
"""These and those alone take `--quick`: little data, to see that they run."""
ALL = [*ON_STACK, *ALONE, *ON_STACK_OR_QUICK]


def main() -> None:
    names = [name for name in sys.argv[1:] if name != "--quick"] or ALL
    quick = "--quick" in sys.argv
    unknown = [name for name in names if name not in ALL]
    if unknown:
        sys.exit(f"No benchmark {unknown[0]}; there are: {', '.join(ALL)}")
    for name in names:
        print(f"\n## {name}\n", flush=True)
        if name in ALONE:
            ALONE[name](quick=quick)
            continue
        with private_stack() as stack:
            if name in ON_STACK:
                ON_STACK[name](stack)
            else:
                ON_STACK_OR_QUICK[name](stack, quick=quick)


if __name__ == "__main__":
    main()
