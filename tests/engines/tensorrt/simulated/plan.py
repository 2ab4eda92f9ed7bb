"""A simulated plan: what was built, for which version and GPU, the ONNX graph, and a digest that shows every change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

MAGIC = b"simulated TensorRT plan\n"
LENGTH_BYTES = 8
DIGEST_BYTES = 32


@dataclass(frozen=True)
class Header:
    """What a plan says about itself.

    Attributes:
        module: `tensorrt` or `tensorrt_rtx`.
        version: of the builder.
        compute_capabilities: of the GPUs that it runs on.
        compatibility: a `HardwareCompatibilityLevel`.
        flags: names of the builder's flags.
        profiles: shapes by input, one an optimisation profile.
        verbosity: a `ProfilingVerbosity`.
        name: of the network.
        platform: a `RuntimePlatform`.
    """

    module: str
    version: str
    compute_capabilities: list[list[int]]
    compatibility: str = "NONE"
    flags: list[str] = field(default_factory=list)
    profiles: list[dict[str, dict[str, list[int]]]] = field(default_factory=list)
    verbosity: str = "LAYER_NAMES_ONLY"
    name: str = ""
    platform: str = "SAME_AS_BUILD"


def packed(header: Header, model: bytes) -> bytes:
    """Return the bytes of a plan."""
    head = json.dumps(asdict(header)).encode()
    body = MAGIC + len(head).to_bytes(LENGTH_BYTES, "little") + head + model
    return body + hashlib.sha256(body).digest()


def unpacked(data: bytes) -> tuple[Header, bytes]:
    """Return header and ONNX bytes.

    Raises:
        ValueError: it is no plan, or not a whole one; in TensorRT's style.
    """
    if not data.startswith(MAGIC):
        raise ValueError(
            "Serialization assertion magicTagRead == kMAGIC_TAG failed. Magic tag does not match. "
            "Note: the plan was not made by this TensorRT"
        )
    body, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("Serialization assertion sizeRead == headerSize failed. The plan is truncated or altered")
    start = len(MAGIC) + LENGTH_BYTES
    end = start + int.from_bytes(body[len(MAGIC) : start], "little")
    fields: dict[str, Any] = json.loads(body[start:end])
    return Header(**fields), body[end:]


def refusal(header: Header, module: Any, capability: tuple[int, int], *, host_code_allowed: bool) -> str | None:
    """Return why a plan cannot run here, None if it can."""
    same = (header.module, header.version) == (module.__name__, module.__version__)
    portable = "VERSION_COMPATIBLE" in header.flags and header.module == module.__name__
    if not same and portable and header.version.split(".")[0] == module.__version__.split(".")[0]:
        if not host_code_allowed:
            return "Error Code 3: API Usage Error (The engine has host code, set engineHostCodeAllowed to load it)"
    elif not same:
        return (
            "Error Code 1: Serialization (Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed. "
            "Version tag does not match. "
            f"Note: Current Version: {module.__version__}, Serialized Engine Version: {header.version})"
        )
    if header.platform != "SAME_AS_BUILD":
        return f"Error Code 6: API Usage Error (The engine was built for {header.platform}.)"
    capabilities = {tuple(each) for each in header.compute_capabilities}
    newer = header.compatibility == "AMPERE_PLUS" and capability >= (8, 0)
    if capability not in capabilities and not newer:
        built = ", ".join(f"{major}.{minor}" for major, minor in sorted(capabilities))
        return (
            "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible device, "
            f"expecting compute {capability[0]}.{capability[1]} got compute {built}, please rebuild.)"
        )
    return None
