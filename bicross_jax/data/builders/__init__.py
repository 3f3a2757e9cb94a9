"""TFDS builders, one a data set. TensorFlow only reads and writes here: quietly, on the CPU."""

import os

# Read when TensorFlow loads: errors only, and no oneDNN, which announces itself.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")  # the GPUs' memory belongs to JAX
