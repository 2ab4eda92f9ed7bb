"""What can go wrong on a GPU: its memory is full, or a CUDA call fails."""

from __future__ import annotations

from contracts.errors import HarnessError, InputError

_EXPLANATIONS = {
    "CUDA_ERROR_INVALID_CONTEXT": "a device is used by the thread that opened it",
    "CUDA_ERROR_ILLEGAL_ADDRESS": "work on the GPU left its memory, and this process can use the GPU no more",
    "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED": "something that cannot be recorded was called during the capture",
}


class DeviceMemoryError(InputError):
    """The GPU's memory, or the host's page-locked memory, is too small for what was asked."""


class CudaError(HarnessError):
    """A CUDA call failed.

    Attributes:
        call: the driver's function, such as `cuStreamSynchronize`.
        error_name: the driver's name of the error, such as `CUDA_ERROR_ILLEGAL_ADDRESS`.
    """

    def __init__(self, call: str, error_name: str, explanation: str = "") -> None:
        self.call = call
        self.error_name = error_name
        why = explanation or _EXPLANATIONS.get(error_name, "")
        super().__init__(f"{call} failed with {error_name}{': ' if why else ''}{why}")


def failure(call: str, error_name: str) -> HarnessError:
    """Return the exception for an error of the driver."""
    if error_name == "CUDA_ERROR_OUT_OF_MEMORY":
        return DeviceMemoryError(f"the GPU's memory is full ({call}): take a smaller batch or a smaller workspace")
    return CudaError(call, error_name)
