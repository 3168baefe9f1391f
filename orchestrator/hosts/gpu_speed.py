"""How fast GPUs train, roughly: to choose between hosts that are equally free."""

from __future__ import annotations

from remote_payload.agent.wire.gpu_names import of_type

TFLOPS: tuple[tuple[str, float], ...] = (
    ("B200", 2250), ("H200", 989), ("H100 PCIe", 756), ("H100 NVL", 835), ("H100", 989), ("H800", 989), ("GH200", 989),
    ("A100", 312), ("A800", 312), ("H20", 148), ("L40S", 362), ("L40", 181), ("L20", 120), ("L4", 121), ("A40", 150),
    ("A30", 165), ("A10", 125), ("RTX 6000 Ada", 364), ("RTX A6000", 155), ("RTX A5000", 111), ("RTX A4000", 77),
    ("5090", 210), ("4090 D", 148), ("4090", 165), ("4080", 97), ("4070", 58), ("4060", 30), ("3090", 71), ("3080", 60),
    ("3070", 41), ("3060", 26), ("V100", 125), ("T4", 65), ("TITAN RTX", 65), ("2080 Ti", 54), ("2080", 40),
    ("P100", 19), ("P40", 12), ("1080 Ti", 11), ("1080", 9),
)  # fmt: skip
"""Dense half-precision tensor TFLOPS with 32-bit accumulation, from NVIDIA's data sheets and architecture white papers;
the first name that stands in nvidia-smi's counts."""

UNKNOWN = 50.0


def speed(name: str) -> float:
    """Return a GPU's speed in TFLOPS; a model that is not listed counts as a middling one.

    Args:
        name: as nvidia-smi prints it.
    """
    return next((tflops for model, tflops in TFLOPS if of_type(name, model)), UNKNOWN)
