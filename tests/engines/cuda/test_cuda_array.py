from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from contracts.errors import InputError
from engines.cuda.array import address_of

pytestmark = pytest.mark.core


class Foreign:
    """An array of another library, here with the address of host memory: nothing reads it."""

    def __init__(self, array: np.ndarray[Any, Any], **changes: Any) -> None:
        interface = array.__array_interface__
        strides = array.strides if interface["strides"] is None else interface["strides"]
        self.__cuda_array_interface__ = {**interface, "strides": strides, **changes}


@given(
    arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
    st.sampled_from(["float32", "float16", "int8", "int64"]),
    st.data(),
)
def test_exactly_contiguous_arrays_are_taken(shape: tuple[int, ...], dtype: str, data: st.DataObject) -> None:
    whole = np.zeros(shape, dtype)
    view = whole.transpose(data.draw(st.permutations(range(len(shape)))))
    if data.draw(st.booleans()):
        view = view[..., ::2]
    if view.flags.c_contiguous:
        place = address_of(Foreign(view))
        assert place == (view.__array_interface__["data"][0], view.shape, view.dtype)
    else:
        with pytest.raises(InputError, match=r"lies scattered in memory: call its contiguous\(\) first"):
            address_of(Foreign(view))


def test_no_strides_mean_contiguous() -> None:
    assert address_of(Foreign(np.zeros((2, 3)), strides=None)).shape == (2, 3)


def test_masked_arrays_are_refused() -> None:
    with pytest.raises(InputError, match="masked"):
        address_of(Foreign(np.zeros(3), mask=object()))


def test_what_is_not_on_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match=r"this ndarray gives no address on a GPU .*: pass a detached CUDA tensor"):
        address_of(np.zeros(3))


def test_a_torch_tensor_on_the_cpu_is_refused() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match="this Tensor gives no address on a GPU"):
        address_of(torch.zeros(3))
