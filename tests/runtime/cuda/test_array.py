"""Arrays in a device's memory, and the pool that they come from."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runtime.cuda.host_device import HostDevice
from whycam.cuda.array import DeviceArray, Pool, gathered, in_place
from whycam.cuda.device import Device


@pytest.fixture
def pool(device: Device) -> Pool:
    return Pool(device)


def counted(*shape: int) -> NDArray[np.float32]:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    "values",
    [counted(3, 4), counted(5, 6)[::2, ::-1], np.arange(7, dtype=np.uint8), np.array([1.5]), counted(2, 0, 3)],
    ids=["float32", "with gaps", "uint8", "float64", "nothing"],
)
def test_what_is_sent_comes_back(pool: Pool, values: NDArray[Any]) -> None:
    array = pool.array(values)

    assert (array.shape, array.dtype, array.size, array.nbytes) == (
        values.shape,
        values.dtype,
        values.size,
        values.nbytes,
    )
    np.testing.assert_array_equal(array, values)


def test_what_is_read_is_counted(pool: Pool) -> None:
    array = pool.array(counted(3, 4))
    assert pool.read == 0

    np.asarray(array)
    np.asarray(array[1])

    assert pool.read == 48 + 16


def test_numpy_gets_the_type_that_it_asks_for_but_no_view(pool: Pool) -> None:
    array = pool.array(counted(3))

    assert np.asarray(array, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="by copying it"):
        array.__array__(copy=False)


def test_memory_goes_out_again_when_its_last_array_is_gone(pool: Pool) -> None:
    first = pool.empty((100,))
    address, view = first.address, first.part(10, 20).reshape(4, 5)[1]
    del first
    gc.collect()
    # The view is still there.
    other = pool.empty((100,))
    assert other.address != address
    assert pool.reserved == 2 * 512

    del view
    gc.collect()

    # In as large a block, whatever its shape.
    again = pool.empty((128,))
    assert again.address == address
    assert pool.reserved == 2 * 512


def test_memory_may_go_in_another_thread(pool: Pool) -> None:
    arrays = [pool.empty((64,))]
    address = arrays[0].address

    thread = threading.Thread(target=arrays.clear)
    thread.start()
    thread.join()

    assert pool.empty((64,)).address == address


def test_threads_never_share_memory(pool: Pool) -> None:
    def use(number: int) -> bool:
        for turn in range(200):
            kept = [pool.array(np.full(60 + index, 1000 * number + turn, np.float32)) for index in range(5)]
            if any((np.asarray(each) != 1000 * number + turn).any() for each in kept):
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(8)))
    # Two sizes of block, each at most in use by all at once.
    assert pool.reserved <= 8 * 5 * (256 + 512)


def test_a_part_is_the_same_memory(pool: Pool) -> None:
    values = counted(4, 2, 3)
    array = pool.array(values)

    np.testing.assert_array_equal(array[1], values[1])
    np.testing.assert_array_equal(array[-1], values[-1])
    np.testing.assert_array_equal(array[2][1], values[2, 1])
    np.testing.assert_array_equal(array.part(1, 3), values[1:])
    np.testing.assert_array_equal(array.reshape(8, 3), values.reshape(8, 3))
    assert len(list(array)) == len(array) == 4

    array[1].write(counted(2, 3))

    values[1] = counted(2, 3)
    np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize("index", [3, -4])
def test_there_is_nothing_beyond_the_first_axis(pool: Pool, index: int) -> None:
    array = pool.array(counted(3, 2))

    with pytest.raises(IndexError):
        array[index]
    with pytest.raises(IndexError, match="2 to 4 of 3"):
        array.part(2, 2)
    with pytest.raises(IndexError, match="-1 to 1 of 3"):
        array.part(-1, 2)
    with pytest.raises(IndexError, match="2 to 1 of 3"):
        array.part(2, -1)


def test_an_array_is_reshaped_to_its_own_size_alone(pool: Pool) -> None:
    with pytest.raises(ValueError, match=r"\[3, 2\] as \[4, 2\]"):
        pool.empty((3, 2)).reshape(4, 2)


def test_a_copy_stays_on_the_device(pool: Pool) -> None:
    source, target = pool.array(counted(2, 3)), pool.empty((6,))

    target.copy_from(source)

    assert pool.read == 0
    np.testing.assert_array_equal(target, np.arange(6))


def test_a_copy_is_of_the_same_size_and_type(pool: Pool) -> None:
    array = pool.empty((2, 3))

    with pytest.raises(ValueError, match=r"float32 \[2, 2\] into float32 \[2, 3\]"):
        array.copy_from(pool.empty((2, 2)))
    with pytest.raises(ValueError, match=r"uint8 \[2, 3\] into float32 \[2, 3\]"):
        array.copy_from(pool.empty((2, 3), np.uint8))


def test_what_is_written_is_of_the_same_shape_and_takes_the_type(pool: Pool) -> None:
    array = pool.empty((2, 3))

    array.write(np.ones((2, 3), np.uint8))

    np.testing.assert_array_equal(array, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\[3, 2\] into \[2, 3\]"):
        array.write(np.ones((3, 2)))


def test_neighbours_are_one_array_without_a_copy(pool: Pool) -> None:
    values = counted(5, 4, 3)
    ring = pool.array(values)

    joined = in_place([ring[1], ring[2], ring[3]])

    assert joined is not None
    assert (joined.address, joined.shape) == (ring[1].address, (3, 4, 3))
    np.testing.assert_array_equal(joined, values[1:4])


def test_neighbours_that_begin_where_no_graph_may_read_or_were_reserved_apart_are_not_one_array(pool: Pool) -> None:
    ring = pool.array(counted(3, 3))
    assert in_place([ring[1], ring[2]]) is None
    first = pool.array(counted(64))
    second = DeviceArray(pool, object(), first.address + first.nbytes, first.shape, first.dtype)
    assert in_place([first, second]) is None


def test_neighbours_that_are_one_array_keep_their_memory(pool: Pool) -> None:
    ring = pool.array(counted(4, 100))
    joined = in_place([ring[0], ring[1]])
    del ring
    gc.collect()

    pool.array(np.zeros((4, 100), np.float32))

    np.testing.assert_array_equal(joined, counted(2, 100))


@pytest.mark.parametrize("order", [(2, 1), (0, 2), (1, 1)])
def test_arrays_that_do_not_lie_one_after_another_are_copied_together(pool: Pool, order: tuple[int, ...]) -> None:
    values = counted(3, 2)
    ring = pool.array(values)
    chosen = [ring[index] for index in order]

    assert in_place(chosen) is None
    joined = gathered(chosen, pool)

    np.testing.assert_array_equal(joined, values[list(order)])
    ring.write(np.zeros((3, 2)))
    np.testing.assert_array_equal(joined, values[list(order)])


def test_arrays_of_several_blocks_are_copied_together(pool: Pool) -> None:
    arrays = [pool.array(np.full((3, 3), index, np.float32)) for index in range(4)]

    joined = gathered(arrays, pool)

    assert joined.shape == (4, 3, 3)
    np.testing.assert_array_equal(joined, np.arange(4.0).repeat(9).reshape(4, 3, 3))
    assert pool.read == joined.nbytes


def test_memory_that_nothing_was_written_to_shows() -> None:
    assert np.isnan(np.asarray(Pool(HostDevice()).empty((5,)))).all()


def test_the_host_refuses_what_a_gpu_may_not_notice() -> None:
    device = HostDevice()
    pool = Pool(device)
    array, numbers = pool.array(counted(64)), np.empty(65, np.float32)
    beyond = DeviceArray(pool, None, array.address, (65,), array.dtype)

    with pytest.raises(ValueError, match=r"260 bytes at .* not reserved"):
        device.read(array.address, numbers)
    with pytest.raises(ValueError, match="not reserved"):
        device.write(array.address - 4, numbers[:1])
    with pytest.raises(ValueError, match="not reserved"):
        device.copy(array.address, array.address + 4, array.nbytes)
    with pytest.raises(ValueError, match="not reserved"):
        device.launch("towards", 64, array, beyond, np.float32(1), array, np.int32(64))
    with pytest.raises(ValueError, match="gaps"):
        device.read(array.address, numbers[::2])


def test_the_host_sees_what_a_kernel_writes_beside_its_output() -> None:
    device = HostDevice()
    pool = Pool(device)
    array, output = pool.array(counted(8)), pool.empty((8,))

    with pytest.raises(AssertionError, match="towards wrote beside its output"):
        device.launch("towards", 8, array, array, np.float32(1), output.part(0, 7), np.int32(8))


def test_the_host_refuses_arguments_that_a_kernel_does_not_take() -> None:
    device = HostDevice()
    pool = Pool(device)
    array, share, size = pool.array(counted(4)), np.float32(1), np.int32(4)
    wrong = pool.empty((4,), np.int32)

    device.launch("towards", 4, array, array, share, array, size)

    with pytest.raises(TypeError, match="takes 5 arguments, got 4"):
        device.launch("towards", 4, array, array, share, array)
    for given in (
        (array, array, size, array, size),
        (array, array, share, array, share),
        (array, wrong, share, array, size),
        (array, array, share, None, size),
        (array, array, share, array, 4),
    ):
        with pytest.raises(TypeError, match="where it takes"):
            device.launch("towards", 4, *given)
    with pytest.raises(AttributeError):
        device.launch("away", 4)
    assert device.launches == {"towards": 1}
