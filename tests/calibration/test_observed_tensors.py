"""What torch tensors show to the observers is what arrays show."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from calibration.magnitudes import count, flat, peak  # noqa: E402
from calibration.observers import CALIBRATORS, observer  # noqa: E402
from contracts.errors import InputError  # noqa: E402

EVERY = pytest.mark.parametrize("calibrator", CALIBRATORS)
VALUES = np.random.default_rng(3).normal(size=(4, 8, 30, 30)).astype(np.float32)


def ranged(calibrator: str, *batches: object) -> float:
    made = observer(calibrator, "relu")
    for batch in batches:
        made.see(batch)  # type: ignore[arg-type]
    return made.range()


@EVERY
def test_a_tensor_has_the_range_of_its_array_in_any_layout(calibrator: str) -> None:
    tensor = torch.from_numpy(VALUES)
    expected = ranged(calibrator, VALUES)
    assert ranged(calibrator, tensor) == expected
    assert ranged(calibrator, tensor.clone().requires_grad_()) == expected
    assert ranged(calibrator, tensor.to(memory_format=torch.channels_last)) == expected
    assert ranged(calibrator, tensor[:2], VALUES[2:]) == expected
    assert ranged(calibrator, tensor.double()) == expected


@EVERY
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_narrow_tensor_has_the_range_of_its_values(calibrator: str, name: str) -> None:
    narrow = torch.from_numpy(VALUES).to(getattr(torch, name))
    assert ranged(calibrator, narrow) == ranged(calibrator, narrow.float().numpy())


@EVERY
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_tensor_that_is_not_finite_is_refused(calibrator: str, value: float) -> None:
    with pytest.raises(InputError, match="activations of relu are not finite"):
        ranged(calibrator, torch.tensor([1.0, value], dtype=torch.float64))


def test_what_is_counted_in_torch_is_what_is_counted_in_numpy() -> None:
    """A GPU's tensors stay tensors; these functions do not care where such a tensor lies."""
    array = flat(VALUES)
    tensor = torch.from_numpy(VALUES).reshape(-1)
    assert peak(tensor) == peak(array)
    assert np.array_equal(count(tensor, 2.0**-13, 65536), count(array, 2.0**-13, 65536))
    assert np.isnan(peak(torch.tensor([1.0, float("nan")])))
    assert peak(torch.tensor([])) == 0.0
    assert count(torch.tensor([]), 1.0, 4).tolist() == [0, 0, 0, 0]


@pytest.mark.gpu
@EVERY
def test_a_tensor_on_the_gpu_has_the_same_range(calibrator: str) -> None:
    tensor = torch.from_numpy(VALUES).cuda()
    assert ranged(calibrator, tensor) == ranged(calibrator, VALUES)
    assert ranged(calibrator, tensor.half()) == ranged(calibrator, VALUES.astype(np.float16))
    with pytest.raises(InputError, match="activations of relu are not finite"):
        ranged(calibrator, tensor / 0.0)


def test_observers_work_where_nobody_imported_torch() -> None:
    program = (
        "import sys, numpy\n"
        "from calibration.observers import CALIBRATORS, observer\n"
        "for name in CALIBRATORS:\n"
        "    made = observer(name, 'relu'); made.see(numpy.ones(3)); made.range()\n"
        "assert not {'torch', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
