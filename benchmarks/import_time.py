"""Seconds that ``import pointwise`` takes beyond ``import torch``, in fresh processes.

Run: python benchmarks/import_time.py
"""

import statistics
import subprocess
import sys

PROGRAM = """
import time
import torch
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""


def main() -> None:
    print("| import | median of 7, s |")
    print("| --- | --- |")
    for module in ("pointwise", "pointwise.nn", "sklearn.base", "pandas"):
        command = [sys.executable, "-c", PROGRAM.format(module=module)]
        seconds = [
            float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            for _ in range(7)
        ]
        print(f"| `{module}` | {statistics.median(seconds):.3f} |")


if __name__ == "__main__":
    main()
