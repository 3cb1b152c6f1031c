"""The devices that are tested alike: host memory with kernels compiled for the CPU, and a GPU where `-m gpu` asks."""

from __future__ import annotations

import pytest

from tests.runtime.cuda.host_device import HostDevice
from whycam.cuda.cuda_device import CudaDevice, gpu
from whycam.cuda.device import Device
from whycam.errors import WhycamError


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "host":
        return HostDevice()
    try:
        return CudaDevice(gpu())
    except WhycamError as error:
        pytest.skip(str(error))
