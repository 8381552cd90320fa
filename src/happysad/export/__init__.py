"""From a trained Keras network to a `.tflite` file that is the whole model."""
