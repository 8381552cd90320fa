"""Compare happysad's int8 file with that of TensorFlow's converter, for the same run.

python benchmarks/quantisation.py RUN

RUN is of a recipe with ``output = "sigmoid"``. On its validation split: decisions that agree with
float32, mean difference of P(happy), accuracy, file size, and the median milliseconds of one crop
on one thread.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from happysad.dataset.load import load
from happysad.dataset.split import read_manifest
from happysad.export.convert import float32_graph, float_blocks_of, quantise
from happysad.training.freeze import frozen_converter
from happysad.training.network import load_network
from happysad.training.run import Run


def by_tensorflow(network: keras.Model, crops: npt.NDArray[np.uint8]) -> bytes:
    """Full int8 by `TFLiteConverter`, probabilities in int8 too."""
    size = network.input_shape[1]
    signature = tf.TensorSpec((1, size, size, 3), tf.float32)
    converter = frozen_converter(lambda image: network(image, training=False), signature, network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([crop[None].astype(np.float32)] for crop in crops)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


def score(model: bytes, crops: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], float]:
    """P(happy) of every crop, and the median milliseconds of one."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    p, times = [], []
    for crop in crops:
        image: Any = crop[None].astype(source["dtype"])
        start = time.perf_counter()
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        p.append(float(interpreter.get_tensor(target["index"])[0, -1]))
        times.append(time.perf_counter() - start)
    return np.array(p), 1000 * statistics.median(times)


def main() -> None:
    """Make the files, score the validation split with each, print a Markdown table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    run = Run(arguments.parse_args().run)
    network = load_network(run.model)
    data = load(Path(run.facts()["dataset"]), network.input_shape[1])
    held_back = {row.sha256 for row in read_manifest(run.manifest) if row.validation}
    validation = np.array([sha256 in held_back for sha256 in data.sha256])
    crops, labels = data.crops[validation], data.labels[validation]
    representative = data.crops[~validation][:: max(1, int((~validation).sum()) // 200)]
    graph = float32_graph(network, 1.0)
    models = {
        "float32": graph,
        "int8, TFLiteConverter": by_tensorflow(network, representative),
        "int8, happysad": quantise(graph, "int8", representative, float_blocks_of(run.recipe())),
    }
    reference, _ = score(graph, crops)
    print("| | MB | accuracy | agree % | mean Δp | ms |\n| --- | --- | --- | --- | --- | --- |")
    for name, model in models.items():
        p, milliseconds = score(model, crops)
        accuracy = np.mean((p >= 0.5) == labels)
        agree = 100 * np.mean((p >= 0.5) == (reference >= 0.5))
        difference = np.abs(p - reference).mean()
        print(
            f"| {name} | {len(model) / 1e6:.2f} | {accuracy:.4f} | {agree:.2f} "
            f"| {difference:.4f} | {milliseconds:.2f} |"
        )


if __name__ == "__main__":
    main()
