"""Mends warp's host memory on machines without CUDA."""

import warp as wp


def ensure_host_memory() -> None:
    """Let warp allocate its host buffers on a machine without CUDA; does nothing elsewhere or a second time."""
    wp.init()
    if not wp.is_cuda_available():
        # Isaac Lab asks for pinned host buffers, which warp can only allocate through the CUDA driver
        cpu = wp.get_device("cpu")
        cpu.pinned_allocator = cpu.default_allocator
