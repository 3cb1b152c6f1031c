"""Reports: one page that carries its pictures within it, and the same figures as JSON."""

from whycam_calibration.report.report import Fact, Picture, Report, Section, Table, picture_of, picture_of_image

__all__ = ["Fact", "Picture", "Report", "Section", "Table", "picture_of", "picture_of_image"]
