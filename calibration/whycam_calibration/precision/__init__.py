"""Precision: INT8 and FP16 feature extractors that keep the decisions and the reasons of fp32."""
