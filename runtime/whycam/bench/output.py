"""The folder that `whycam bench -o` leaves: the figures and a picture of them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from whycam.bench.report import Report
from whycam.errors import InputError
from whycam.libraries import MATPLOTLIB, needs


class Output:
    """`bench.json` and `bench.png` in a folder; they are replaced where they exist, nothing else is touched."""

    def __init__(self, folder: Path) -> None:
        """In `folder`, made where it is missing.

        Raises InputError where it cannot be made or written to, MissingDependencyError without Matplotlib: now, not
        after the work.
        """
        with needs(MATPLOTLIB):
            import matplotlib  # noqa: F401 - the plot will want it
        self._folder = folder
        self.paths = folder / "bench.json", folder / "bench.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryDirectory(prefix=".whycam-", dir=folder).cleanup()
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, report: Report) -> None:
        """Write both files, each whole or not at all. Raises InputError where they cannot be written."""
        from whycam.bench.plot import draw_report

        figures, picture = self.paths
        try:
            with TemporaryDirectory(prefix=".whycam-", dir=self._folder) as drafts:
                draft = Path(drafts) / "bench"
                draft.write_text(report.json() + "\n", encoding="utf-8")
                draft.replace(figures)
                draw_report(report, draft)
                draft.replace(picture)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(f"{self._folder}: cannot be written ({error.strerror}); choose another folder with -o")
