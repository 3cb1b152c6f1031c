"""Training: from a folder of clips to a Keras model of the paper's form."""
