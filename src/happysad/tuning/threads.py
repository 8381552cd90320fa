"""How many cores TensorFlow may take in a process that shares its machine."""

import os


def limit_threads(cpus: int) -> None:
    """Hold TensorFlow to so many cores; it has to be asked before it is imported."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(cpus)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
