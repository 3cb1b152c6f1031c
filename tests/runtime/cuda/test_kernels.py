"""The CUDA kernels against their twins in numpy, and against what the host computes in their place."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.runtime.cuda import twins
from whycam.cuda import kernels
from whycam.cuda.array import Pool
from whycam.cuda.device import Device
from whycam.detect.resize import resize
from whycam.detect.ring import Sample, Usual
from whycam.explain import cams, time

Array = NDArray[Any]

CAMS = {
    "grad-cam": cams.grad_cam,
    "grad-cam++": cams.grad_cam_plus_plus,
    "hirescam": cams.hirescam,
    "layercam": cams.layercam,
    "xgrad-cam": cams.xgrad_cam,
}
MAPS = [(1, 1, 1, 1), (3, 5, 7, 7), (2, 130, 3, 5), (20, 64, 14, 14)]
"""n, C, h, w: of few threads, of some that do not fill a block, of many."""
SIZES = [(1, 1), (64, 48), (100, 120), (112, 112), (113, 111), (480, 640), (1001, 1200), (1080, 1920), (2160, 3840)]
"""Of frames that become 112 x 112: smaller, as large, and larger, the last ones halved first, once and twice."""

examples = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def pool(device: Device) -> Pool:
    return Pool(device)


def from_bgr(device: Device, lines: Array, crop: kernels.Crop, height: int, width: int) -> Array:
    pool = Pool(device)
    into = pool.empty((height, width, 3), np.uint8)
    kernels.frame_from_bgr(pool.array(lines), crop, into)
    return np.asarray(into)


def from_nv12(device: Device, luma: Array, chroma: Array, crop: kernels.Crop, height: int, width: int) -> Array:
    pool = Pool(device)
    into = pool.empty((height, width, 3), np.uint8)
    kernels.frame_from_nv12(pool.array(luma), pool.array(chroma), crop, into)
    return np.asarray(into)


def noise(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int) -> Array:
    """As photographs are: shades that change slowly, and a little noise."""
    coarse = cv2.resize(noise(7, 9, 3), (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.add(coarse, noise(height, width, 3) // 16)


def cropped(image: Array, crop: kernels.Crop) -> Array:
    x, y, width, height = crop
    return image[y : y + height, x : x + width]


def furthest(one: Array, other: Array) -> int:
    return int(np.abs(one.astype(int) - other).max())


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, int], kernels.Crop, int, tuple[int, int]]:
    """The height and width of a frame, a crop, what its lines are longer by, and the size that is wanted."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    crop = x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))
    return (height, width), crop, draw(st.integers(0, 9)), (draw(st.integers(1, 24)), draw(st.integers(1, 24)))


@given(view=views())
@examples
def test_any_part_of_a_bgr_frame_becomes_what_its_twin_says(
    device: Device, view: tuple[tuple[int, int], kernels.Crop, int, tuple[int, int]]
) -> None:
    (height, width), crop, longer, size = view
    lines = noise(height, 3 * width + longer)
    image = lines[:, : 3 * width].reshape(height, width, 3)

    assert (from_bgr(device, lines, crop, *size) == twins.resized(cropped(image, crop), *size)).all()


@given(view=views())
@examples
def test_any_part_of_an_nv12_frame_becomes_what_its_twins_say(
    device: Device, view: tuple[tuple[int, int], kernels.Crop, int, tuple[int, int]]
) -> None:
    (height, width), crop, longer, size = view
    blocks = -(-height // 2), -(-width // 2)
    luma, chroma = noise(height, width + longer), noise(blocks[0], 2 * blocks[1] + 2 * longer)
    colour = twins.bgr_from_nv12(luma[:, :width], chroma[:, : 2 * blocks[1]].reshape(*blocks, 2))

    assert (from_nv12(device, luma, chroma, crop, *size) == twins.resized(cropped(colour, crop), *size)).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [smooth, lambda *size: noise(*size, 3)], ids=["smooth", "noise"])
def test_frames_are_resized_as_on_the_host(device: Device, size: tuple[int, int], make: Callable[..., Array]) -> None:
    """Within a level: 0.002 on average where frames shrink, 0.13 where they grow or are halved, 0.25 halved twice."""
    image = make(*size)

    assert furthest(from_bgr(device, image, (0, 0, *size[::-1]), 112, 112), resize(image, 112, 112)) <= 1


@pytest.mark.parametrize("size", [(61, 601), (601, 61)])
def test_a_strip_that_grows_on_one_side_is_resized_as_on_the_host(device: Device, size: tuple[int, int]) -> None:
    image = noise(*size, 3)

    assert furthest(from_bgr(device, image, (0, 0, *size[::-1]), 112, 112), resize(image, 112, 112)) <= 1


@pytest.mark.parametrize("enlarged", [1, 6])
def test_real_frames_are_resized_as_on_the_host(device: Device, shared_data: Path, enlarged: int) -> None:
    video = cv2.VideoCapture(str(min((shared_data / "fights" / "fight").iterdir())))
    _, image = video.read()
    image = cv2.resize(image, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    height, width = image.shape[:2]

    assert furthest(from_bgr(device, image, (0, 0, width, height), 112, 112), resize(image, 112, 112)) <= 1


@pytest.mark.parametrize("crop", [(0, 0, 640, 480), (13, 7, 601, 401), (600, 440, 40, 40), (5, 5, 112, 112)])
def test_nv12_becomes_what_opencv_makes_of_it(device: Device, crop: kernels.Crop) -> None:
    """Colours are the same, and resizing adds a level at most."""
    planes = noise(480 * 3 // 2, 640)
    colour = np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_NV12))

    got = from_nv12(device, planes[:480], planes[480:], crop, 112, 112)

    assert furthest(got, resize(np.ascontiguousarray(cropped(colour, crop)), 112, 112)) <= 1


@pytest.mark.parametrize("crop", [(-1, 0, 5, 5), (0, -1, 5, 5), (4, 0, 5, 5), (0, 2, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0)])
def test_a_crop_beyond_the_frame_is_refused(device: Device, crop: kernels.Crop) -> None:
    with pytest.raises(ValueError, match="in a frame of 8 x 6"):
        from_bgr(device, noise(6, 8, 3), crop, 4, 4)
    with pytest.raises(ValueError, match="in a frame of 8 x 6"):
        from_nv12(device, noise(6, 8), noise(3, 8), crop, 4, 4)


def test_a_crop_beyond_the_chroma_is_refused(device: Device) -> None:
    with pytest.raises(ValueError, match="in a frame of 6 x 6"):
        from_nv12(device, noise(6, 8), noise(3, 7), (0, 0, 8, 6), 4, 4)
    with pytest.raises(ValueError, match="in a frame of 8 x 4"):
        from_nv12(device, noise(6, 8), noise(2, 8), (0, 0, 8, 6), 4, 4)


def test_an_output_that_is_no_bgr_image_is_refused(pool: Pool) -> None:
    with pytest.raises(ValueError, match=r"\[4, 4, 1\] is no BGR image"):
        kernels.frame_from_bgr(pool.array(noise(6, 8, 3)), (0, 0, 8, 6), pool.empty((4, 4, 1), np.uint8))


@pytest.mark.parametrize("size", [1, 127, 128, 129, 5000])
def test_a_mean_moves_as_on_the_host(pool: Pool, size: int) -> None:
    old, new = numbers(2, size)
    moved = np.asarray(kernels.towards(pool.array(old), pool.array(new), 1 / 600))

    np.testing.assert_allclose(moved, twins.towards(old, new, 1 / 600), rtol=0, atol=1e-6)
    sample = Sample(new, (), noise(1, 1, 3), 0.0)
    np.testing.assert_array_equal(moved, Usual(old, (), 599).with_sample(sample).features)


@pytest.mark.parametrize("usual", [False, True])
@pytest.mark.parametrize("shape", MAPS)
@pytest.mark.parametrize("method", kernels.METHODS)
def test_a_class_activation_map_is_its_twins_and_the_hosts(
    pool: Pool, method: str, shape: tuple[int, ...], usual: bool
) -> None:
    maps, gradient = numbers(2, *shape)
    # As a ReLU leaves them, some dead.
    maps = np.maximum(maps, 0)
    maps[:, ::7] = 0
    common = np.maximum(numbers(*shape[1:]), 0) if usual else None
    arguments: Any = [pool.array(maps), pool.array(gradient), None if common is None else pool.array(common)]

    heat = np.asarray(kernels.class_activation(method, *arguments))

    seen = maps if common is None else maps - common
    assert heat.shape == (shape[0], *shape[2:])
    close(heat, twins.class_activation(method, seen.astype(np.float64), gradient.astype(np.float64)))
    close(heat, CAMS[method](seen, gradient))


@pytest.mark.parametrize("method", kernels.METHODS)
def test_what_is_no_number_stays_none(pool: Pool, method: str) -> None:
    """As on the host: a heat map that has become NaN must not look like one of nothing."""
    maps, gradient = np.abs(numbers(2, 1, 3, 2, 2))
    maps[0, 1, 1, 1] = np.nan

    heat = np.asarray(kernels.class_activation(method, pool.array(maps), pool.array(gradient)))

    np.testing.assert_array_equal(np.isnan(heat), np.isnan(CAMS[method](maps, gradient)))
    assert np.isnan(heat).any()


@pytest.mark.parametrize("usual", [False, True])
@pytest.mark.parametrize(("frames", "length"), [(1, 1), (3, 63), (3, 64), (3, 65), (20, 4608)])
def test_relevance_is_its_twins_and_the_hosts(pool: Pool, frames: int, length: int, usual: bool) -> None:
    features, gradient = numbers(2, frames, length)
    resting = numbers(length) if usual else np.zeros(length, np.float32)
    arguments: Any = [pool.array(features), pool.array(gradient), pool.array(resting) if usual else None]

    dots = kernels.frame_dots(*arguments)

    assert dots.dtype == np.float32
    double = [each.astype(np.float64) for each in (features, gradient, resting)]
    np.testing.assert_allclose(dots, twins.frame_dots(*double), rtol=1e-5, atol=1e-6 * length)
    on_host = ((features - resting) * gradient).sum(axis=1)
    np.testing.assert_allclose(time.shares(dots), time.shares(on_host), atol=1e-5)


@pytest.mark.parametrize("usual", [False, True])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("frames", "length"), [(1, 1), (3, 43), (20, 64)])
def test_windows_without_or_of_one_frame_are_their_twins(
    pool: Pool, frames: int, length: int, keep: bool, usual: bool
) -> None:
    features, resting = numbers(frames, length), numbers(length) if usual else np.zeros(length, np.float32)

    windows = np.asarray(
        kernels.windows_of_one(pool.array(features), pool.array(resting) if usual else None, keep=keep)
    )

    np.testing.assert_array_equal(windows, twins.windows_of_one(features, resting, keep))


def test_arrays_of_other_sizes_are_refused(pool: Pool) -> None:
    maps, fewer = pool.empty((2, 3, 4, 4)), pool.empty((2, 3, 4, 3))
    with pytest.raises(ValueError, match=r"\[2, 3, 4, 3\] beside \[2, 3, 4, 4\]"):
        kernels.class_activation("grad-cam", maps, fewer)
    with pytest.raises(ValueError, match="beside"):
        kernels.class_activation("layercam", maps, maps, fewer[0])
    with pytest.raises(ValueError, match="beside"):
        kernels.towards(maps, fewer, 0.5)
    with pytest.raises(ValueError, match="beside"):
        kernels.frame_dots(maps.reshape(2, 48), fewer.reshape(2, 36))
    with pytest.raises(ValueError, match="beside"):
        kernels.windows_of_one(maps.reshape(2, 48), fewer[0].reshape(36), keep=True)


def test_nvcc_compiles_the_kernels_without_a_warning(tmp_path: Path) -> None:
    """For those of the Jetsons from Nano to Thor, and an H100, that this nvcc knows."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc, the CUDA compiler")
    listed = subprocess.run([nvcc, "--list-gpu-arch"], check=True, capture_output=True, text=True).stdout
    known = {line.removeprefix("compute_") for line in listed.split()} & {"53", "62", "72", "87", "90", "110"}
    (tmp_path / "kernels.cu").write_text(kernels.source())

    assert known
    for architecture in known:
        options = ["-Werror", "all-warnings", "-cubin", f"-arch=sm_{architecture}", "-o", f"{architecture}.cubin"]
        done = subprocess.run([nvcc, *options, "kernels.cu"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def numbers(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def close(heat: Array, wanted: Array) -> None:
    """Sums of float32 in another order."""
    np.testing.assert_allclose(heat, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max(initial=1e-6))
