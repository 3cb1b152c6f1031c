"""From a Keras model to a bundle."""
