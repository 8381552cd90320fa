"""Does the released model answer faster for several crops at once? One thread, the median of many.

python benchmarks/batching.py
"""

import statistics
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from happysad.released import MODEL, read_released


def main() -> None:
    """Print a Markdown table."""
    content = read_released(MODEL)
    print("| crops at once | ms a crop |\n| --- | --- |")
    for count in (1, 4, 8, 16):
        interpreter = Interpreter(model_content=content, num_threads=1)
        source = interpreter.get_input_details()[0]
        shape = [count, *source["shape"][1:]]
        interpreter.resize_tensor_input(source["index"], shape)
        interpreter.allocate_tensors()
        crops = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        interpreter.set_tensor(source["index"], crops)
        times = []
        for _ in range(20 + 400 // count):
            start = time.perf_counter()
            interpreter.invoke()
            times.append(time.perf_counter() - start)
        print(f"| {count} | {1000 * statistics.median(times) / count:.2f} |")


if __name__ == "__main__":
    main()
