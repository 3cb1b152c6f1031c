from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.export.evaluation.fire_clips import FPS, SIDE, Scene, write
from whycam.errors import InputError, SourceError
from whycam_export.evaluation.truth import Truth, find_truths, read_ranges

SCENE = Scene("one")
TIMES = np.arange(SCENE.frames) / FPS


def write_masks(folder: Path, masks: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for index, mask in enumerate(masks):
        cv2.imwrite(str(folder / f"{index:04d}.png"), mask.astype(np.uint8) * 255)


def test_the_truth_beside_a_clip_says_when_and_where(tmp_path: Path) -> None:
    clips = write(tmp_path, SCENE)
    truth = find_truths(clips).of(clips / "fire" / "one.mp4", TIMES)
    assert truth is not None
    assert truth.inside(np.array([1.1, 1.2, 2.3, 2.4])).tolist() == [False, True, True, False]
    masks = truth.masks_at(np.array([1.14, 1.16]))
    assert masks is not None
    assert masks.shape == (2, SIDE, SIDE)
    assert masks.any(axis=(1, 2)).tolist() == [False, True]


def test_a_folder_may_hold_links_to_clips_that_lie_elsewhere(tmp_path: Path) -> None:
    clips = write(tmp_path / "clips", SCENE, truth=False)
    (tmp_path / "links" / "fire").mkdir(parents=True)
    link = tmp_path / "links" / "fire" / "one.mp4"
    link.symlink_to(clips / "fire" / "one.mp4")
    (tmp_path / "links" / "ranges.csv").write_text("path,start,end\nfire/one.mp4,1.2,2.4\n")
    truth = find_truths(tmp_path / "links").of(link, TIMES)
    assert truth is not None
    assert truth.ranges == ((1.2, 2.4),)


def test_a_folder_of_masks_stands_in_for_it_and_the_anomaly_lasts_while_they_show_it(tmp_path: Path) -> None:
    clips = write(tmp_path / "clips", SCENE, truth=False)
    masks = SCENE.masks()
    masks[20:] = False
    write_masks(tmp_path / "masks" / "fire" / "one", masks)
    truth = find_truths(clips, tmp_path / "masks").of(clips / "fire" / "one.mp4", TIMES)
    assert truth is not None
    assert truth.ranges == ((1.2, 2.0),)
    found = truth.masks_at(TIMES)
    assert found is not None
    assert (found == masks).all()


def test_ranges_beside_the_masks_say_when_in_their_place(tmp_path: Path) -> None:
    clips = write(tmp_path / "clips", SCENE, truth=False)
    write_masks(tmp_path / "masks" / "fire" / "one", SCENE.masks())
    (tmp_path / "masks" / "ranges.csv").write_text("path,start,end\nfire/one.mp4,0.5,1\nfire/one,2,2.2\n")
    truth = find_truths(clips, tmp_path / "masks").of(clips / "fire" / "one.mp4", TIMES)
    assert truth is not None
    assert truth.ranges == ((0.5, 1.0), (2.0, 2.2))


def test_ranges_alone_say_when_but_not_where(tmp_path: Path) -> None:
    clips = write(tmp_path, SCENE, Scene("two"), truth=False)
    (clips / "ranges.csv").write_text("path,start,end\nfire/one,1.2,2.4\n")
    truths = find_truths(clips)
    truth = truths.of(clips / "fire" / "one.mp4", TIMES)
    assert truth is not None
    assert truth.masks_at(TIMES) is None
    assert truth.inside(TIMES).sum() == 12
    assert truths.of(clips / "fire" / "two.mp4", TIMES) is None


def test_names_may_hold_full_stops(tmp_path: Path) -> None:
    (tmp_path / "ranges.csv").write_text("path,start,end\nfire/cam.1,1,2\nfire/cam.2.mp4,1,2\n")
    assert set(read_ranges(tmp_path / "ranges.csv")) == {"fire/cam.1", "fire/cam.2"}


def test_a_range_begins_with_its_first_moment_and_ends_before_its_last_whatever_the_rounding() -> None:
    assert Truth(((0.3, 0.6),)).inside(np.array([0.1 + 0.2 - 1e-9, 0.6 - 1e-9])).tolist() == [True, False]


def test_masks_that_are_not_one_per_frame_are_refused(tmp_path: Path) -> None:
    clips = write(tmp_path / "clips", SCENE, truth=False)
    write_masks(tmp_path / "masks" / "fire" / "one", SCENE.masks()[:-1])
    with pytest.raises(SourceError, match=r"one: 23 masks for 24 frames; give one PNG per frame"):
        find_truths(clips, tmp_path / "masks").of(clips / "fire" / "one.mp4", TIMES)


def test_a_damaged_truth_is_the_clips_fault(tmp_path: Path) -> None:
    clips = write(tmp_path, SCENE)
    (clips / "fire" / "one.truth.npz").write_bytes(b"PK nothing")
    with pytest.raises(SourceError, match=r"one\.truth\.npz: damaged"):
        find_truths(clips).of(clips / "fire" / "one.mp4", TIMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,start\na,1\n", r"no column end; its first line must be path,start,end"),
        ("path,start,end\na,1,x\n", r"line 2: 'x' is not a time in seconds"),
        ("path,start,end\na,1,2\nb,nan,2\n", r"line 3: 'nan' is not a time"),
        ("path,start,end\na,3,2\n", r"line 2: the range ends before it starts"),
        ("path,start,end\na,3\n", r"line 2: 'None' is not a time"),
    ],
)
def test_a_wrong_line_of_ranges_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "ranges.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_ranges(tmp_path / "ranges.csv")


def test_masks_that_are_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_truths(tmp_path, tmp_path / "masks")


def test_masks_of_other_clips_are_refused_with_the_name_that_they_must_have(tmp_path: Path) -> None:
    clip = write(tmp_path / "clips", SCENE, truth=False) / "fire" / "one.mp4"
    write_masks(tmp_path / "masks" / "one", SCENE.masks())
    with pytest.raises(InputError, match=r"masks: has nothing of the clips .* must be .*masks/fire/one/\*\.png"):
        find_truths(tmp_path / "clips", tmp_path / "masks").check([clip])
    (tmp_path / "masks" / "ranges.csv").write_text("path,start,end\nfire/one,1.2,2.4\n")
    find_truths(tmp_path / "clips", tmp_path / "masks").check([clip])


def test_ranges_may_be_of_more_clips_than_there_are_but_not_of_others_alone(tmp_path: Path) -> None:
    clip = write(tmp_path, SCENE, truth=False) / "fire" / "one.mp4"
    (tmp_path / "ranges.csv").write_text("path,start,end\none.mp4,1.2,2.4\n")
    with pytest.raises(InputError, match=r"ranges\.csv: names no clip of the folder; .* must be fire/one"):
        find_truths(tmp_path).check([clip])
    (tmp_path / "ranges.csv").write_text("path,start,end\nfire/gone.mp4,1,2\nfire/one.mp4,1.2,2.4\n")
    find_truths(tmp_path).check([clip])
