"""Jetsons on paper: what is published of them, and of networks that ran on them.

docs/explanation/jetson.md says where each was read. None was measured for this project.
"""

from __future__ import annotations

from dataclasses import dataclass

OPERATIONS = {
    "Maxwell": {"fp32": 2, "fp16": 4},
    "Volta": {"fp32": 2, "fp16": 16, "int8": 32},
    "Ampere": {"fp32": 2, "fp16": 16, "int8": 32},
    "Blackwell": {"fp32": 2, "fp16": 64, "int8": 128},
}
"""Of each generation, what a CUDA core and its share of the Tensor Cores do per clock; a multiply-add is two.

Dense: sparsity would double them from Ampere on. fp32, and all of Maxwell's, on CUDA cores: it has no Tensor Cores,
does two fp16 multiply-adds at once, and has no fast INT8.
"""


@dataclass(frozen=True)
class Device:
    """A Jetson in its fastest power mode. Peaks are those of the GPU, without the DLAs that some have beside it."""

    name: str
    generation: str
    cores: int
    """CUDA cores."""
    clock: float
    """Of the GPU at most, in Hz."""
    memory: int
    """Bytes, shared by CPU and GPU."""
    bandwidth: float
    """Bytes per second."""
    published: str
    """The peak as NVIDIA gives it."""
    seen: str

    @property
    def peak(self) -> dict[str, float]:
        """Operations per second by precision: cores x clock x `OPERATIONS`."""
        return {name: self.cores * self.clock * each for name, each in OPERATIONS[self.generation].items()}


GUIDE = "Ultralytics' guide"
SUPER = "NVIDIA's table of the two developer kits, quoted"
GB = 2**30

NANO = Device("Nano", "Maxwell", 128, 921.6e6, 4 * GB, 25.6e9, "472 GFLOPS fp16", GUIDE)
XAVIER_NX = Device(
    "Xavier NX", "Volta", 384, 1.1e9, 8 * GB, 59.7e9, "21 TOPS INT8, both DLAs included",
    f"{GUIDE}; the preliminary data sheet DA-09366-001 has slower memory (51.2 GB/s)",
)  # fmt: skip
AGX_XAVIER = Device("AGX Xavier", "Volta", 512, 1.377e9, 32 * GB, 136.5e9, "32 TOPS INT8, both DLAs included", GUIDE)
ORIN_NANO = Device(
    "Orin Nano 8GB", "Ampere", 1024, 625e6, 8 * GB, 68e9, "40 TOPS INT8 sparse, 20 dense; 10 TFLOPS fp16",
    f"{SUPER}; clock: {GUIDE}",
)  # fmt: skip
ORIN_NANO_SUPER = Device(
    "Orin Nano 8GB, Super", "Ampere", 1024, 1.02e9, 8 * GB, 102e9,
    "67 TOPS INT8 sparse, 33 dense; 17 TFLOPS fp16", SUPER,
)  # fmt: skip
AGX_ORIN = Device(
    "AGX Orin 64GB", "Ampere", 2048, 1.3e9, 64 * GB, 204.8e9,
    "170 TOPS INT8 sparse on the GPU (275 with the DLAs)",
    f"data sheet DS-10662-001 v1.8, p. 7, quoted; memory: {GUIDE}",
)  # fmt: skip
AGX_THOR = Device(
    "AGX Thor", "Blackwell", 2560, 1.57e9, 128 * GB, 273e9,
    "1035 TOPS INT8 sparse; 517 TFLOPS fp16 sparse",
    f"NVIDIA's table of the T5000, quoted; clock and memory: {GUIDE}",
)  # fmt: skip

DEVICES = (NANO, XAVIER_NX, ORIN_NANO, ORIN_NANO_SUPER, AGX_ORIN, AGX_THOR)


@dataclass(frozen=True)
class Run:
    """A published rate of a network on one picture at a time, by TensorRT."""

    network: str
    """VGG-19 or MobileNetV2, both of 224 x 224 and with their classifier; or YOLO11x of 640 x 640."""
    device: Device
    precision: str
    rate: float
    """Pictures per second."""
    source: str


LIST = "NVIDIA's inference benchmarks of the Nano, quoted"
BENCHMARKS = "jetson_benchmarks"
YOLO = GUIDE

PUBLISHED = (
    Run("VGG-19", NANO, "fp16", 10.0, LIST),
    Run("VGG-19", NANO, "fp16", 7.69, f"a user's run of {BENCHMARKS}"),
    Run("VGG-19", AGX_XAVIER, "fp16", 121.0, "torch2trt"),
    Run("VGG-19", XAVIER_NX, "int8", 66.43, f"{BENCHMARKS}, JetPack 4.4"),
    Run("VGG-19", XAVIER_NX, "int8", 142.0, f"a user's run of {BENCHMARKS}, JetPack 5.1.3, 20 W"),
    Run("YOLO11x", ORIN_NANO_SUPER, "fp16", 1 / 32.58e-3, YOLO),
    Run("YOLO11x", ORIN_NANO_SUPER, "int8", 1 / 19.90e-3, YOLO),
    Run("YOLO11x", AGX_ORIN, "fp16", 1 / 13.55e-3, YOLO),
    Run("YOLO11x", AGX_ORIN, "int8", 1 / 9.40e-3, YOLO),
    Run("YOLO11x", AGX_THOR, "fp16", 1 / 5.10e-3, YOLO),
    Run("YOLO11x", AGX_THOR, "int8", 1 / 4.53e-3, YOLO),
    Run("MobileNetV2", NANO, "fp16", 1 / 17.65e-3, "a user's TensorRT sample, JetPack 4.2.1"),
    Run(
        "MobileNetV2", NANO, "fp16", 64 * (300 / 224) ** 2,
        f"{LIST}: 64 at 300 px, here reckoned to 224 px by the pixels",
    ),
)  # fmt: skip
YOLO11X_OPERATIONS = 194.9e9
"""Per picture of 640 x 640: Ultralytics' docs/en/models/yolo11.md."""
