"""From a Keras model to a bundle."""

from whycam_export.convert.export import ExportOptions, export_bundle

__all__ = ["ExportOptions", "export_bundle"]
