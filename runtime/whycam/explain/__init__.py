"""Explanations: where and when a window made the model decide as it did."""
