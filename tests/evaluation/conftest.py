import keras
import pytest


@pytest.fixture(scope="session")
def tiny_network() -> keras.Model:
    """A network with the layers of the real one and a thousandth of its weights."""
    keras.utils.set_random_seed(7)
    source = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(6, 5, strides=4, padding="same", activation="relu")(source)
    backbone = keras.Model(source, features, name="backbone")

    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1)(image))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    for i in range(2):
        x = keras.layers.Dense(8, activation="relu", name=f"dense_{i}")(x)
        x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(1, name="logit")(x)
    return keras.Model(image, keras.layers.Activation("sigmoid", name="scores")(x))
