"""`python -m benchmarks [NAME …]`: run benchmarks on a private stack of their own."""

import sys

from benchmarks import overhead, vector_load
from benchmarks.stack import private_stack

BENCHMARKS = {
    "overhead": overhead.run,
    "growth": vector_load.growth,
    "formats": vector_load.formats,
}


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"No benchmark {unknown[0]}; there are: {', '.join(BENCHMARKS)}")
    with private_stack() as stack:
        for name in names:
            print(f"\n## {name}\n", flush=True)
            BENCHMARKS[name](stack)


if __name__ == "__main__":
    main()
