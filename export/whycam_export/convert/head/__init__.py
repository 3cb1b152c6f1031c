"""The recurrent head: read from Keras, written as window, step and gradient graphs."""

from whycam_export.convert.head.graphs import (
    attention_graph,
    excitation_graph,
    gradient_graph,
    step_graph,
    window_graph,
)
from whycam_export.convert.head.reading import Head, read_head

__all__ = ["Head", "attention_graph", "excitation_graph", "gradient_graph", "read_head", "step_graph", "window_graph"]
