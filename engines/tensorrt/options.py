"""The sections `build.tensorrt` and `build.tensorrt-rtx` of the experiment file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

Batch = Annotated[int, Field(ge=1, strict=True)]
Profile = tuple[Batch, Batch, Batch]

HardwareCompatibility = Literal["none", "ampere_plus", "same_compute_capability"]


@dataclass(frozen=True)
class BuildOptions:
    """How an engine of either flavour is built.

    Attributes:
        profiles: the batch sizes that an optimisation profile takes: smallest, the one it is tuned for, largest. A
            batch runs in the profile that is tuned for the size nearest to it, of those that take it.
        workspace_bytes: scratch memory that a kernel may take; None for all there is.
        optimization_level: 0 (fastest build) to 5; None for TensorRT's own.
        tf32: let FP32 layers multiply in TF32, which rounds inputs to 10 bits.
        sparsity: use 2:4 structured sparsity where the weights have it.
        max_aux_streams: streams beside the main one; None for TensorRT's own.
        detailed: keep what the inspector needs to tell each layer's precision and format.
    """

    profiles: tuple[Profile, ...] = ((1, 1, 1), (2, 64, 128))
    workspace_bytes: Annotated[int, Field(ge=1, strict=True)] | None = None
    optimization_level: Annotated[int, Field(ge=0, le=5, strict=True)] | None = None
    tf32: bool = False
    sparsity: bool = False
    max_aux_streams: Annotated[int, Field(ge=0, strict=True)] | None = None
    detailed: bool = True

    def __post_init__(self) -> None:
        """Refuse profiles that no batch fits.

        Raises:
            ValueError: no profile, or one that is not in order.
        """
        if not self.profiles:
            raise ValueError("profiles must name at least one range of batch sizes, such as [[1, 8, 64]]")
        for smallest, tuned, largest in self.profiles:
            if not smallest <= tuned <= largest:
                raise ValueError(f"the profile [{smallest}, {tuned}, {largest}] must be smallest, tuned, largest batch")


@dataclass(frozen=True)
class TensorRTOptions(BuildOptions):
    """What TensorRT has besides.

    Attributes:
        version_compatible: an engine that later TensorRT versions load too.
        hardware_compatibility: an engine for all GPUs from Ampere on, or all of one compute capability.
        dla_core: run on that deep-learning accelerator of a Jetson; None for the GPU.
        gpu_fallback: run on the GPU what the accelerator cannot.
        timing_cache: remember the times of kernels from one build to the next, by GPU and version.
    """

    compute_capabilities: ClassVar[tuple[str, ...]] = ()

    version_compatible: bool = False
    hardware_compatibility: HardwareCompatibility = "none"
    dla_core: Annotated[int, Field(ge=0, strict=True)] | None = None
    gpu_fallback: bool = True
    timing_cache: bool = True

    def __post_init__(self) -> None:
        """Refuse what an accelerator does not take.

        Raises:
            ValueError: a range of batch sizes on a DLA core.
        """
        super().__post_init__()
        for smallest, tuned, largest in self.profiles:
            if self.dla_core is not None and smallest != largest:
                raise ValueError(f"a DLA core takes one batch size: write [{tuned}, {tuned}, {tuned}]")


@dataclass(frozen=True)
class TensorRTRTXOptions(BuildOptions):
    """What TensorRT-RTX has besides; it compiles for many GPUs, times no kernels and has no accelerators.

    Attributes:
        compute_capabilities: what it compiles for, as "8.6"; none for its own choice.
    """

    version_compatible: ClassVar[bool] = False
    hardware_compatibility: ClassVar[HardwareCompatibility] = "none"
    dla_core: ClassVar[int | None] = None
    gpu_fallback: ClassVar[bool] = False
    timing_cache: ClassVar[bool] = False

    compute_capabilities: tuple[str, ...] = ()


AnyOptions = TensorRTOptions | TensorRTRTXOptions
