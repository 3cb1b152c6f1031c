"""Is the explanation true? What each method of explanation is worth, measured on labelled clips."""

from whycam_export.evaluation.evaluate import Options, evaluate

__all__ = ["Options", "evaluate"]
