from __future__ import annotations

from pathlib import Path

import pytest

from whycam_export.errors import TrainingError
from whycam_export.training.outputs import check_output, staging


def test_what_is_staged_appears_together(tmp_path: Path) -> None:
    with staging(tmp_path / "fight.keras") as place:
        place(".keras").write_text("model")
        place(".json").write_text("{}")
        assert not (tmp_path / "fight.json").exists()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["fight.json", "fight.keras"]


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt])
def test_a_run_that_breaks_off_leaves_nothing_new(tmp_path: Path, ending: type[BaseException]) -> None:
    (tmp_path / "fight.keras").write_text("the old one")

    with pytest.raises(ending), staging(tmp_path / "fight.keras") as place:
        place(".keras").write_text("half")
        raise ending

    assert [path.name for path in tmp_path.iterdir()] == ["fight.keras"]
    assert (tmp_path / "fight.keras").read_text() == "the old one"


@pytest.mark.parametrize(
    ("name", "said"),
    [("fight.h5", r"must end in \.keras"), ("nowhere/fight.keras", "no such folder"), ("folder.keras", "is a folder")],
)
def test_a_place_where_no_model_can_be_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.keras").mkdir()

    with pytest.raises(TrainingError, match=said):
        check_output(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(TrainingError, match="/proc cannot be written"):
        check_output(Path("/proc/fight.keras"))
