"""The process that measures: `python -m benchmarks.gpu`, started by `processes.py`."""

from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.processes import serve

if __name__ == "__main__":
    serve(PARTS)
