"""The experiment file's schema: one section a stage, unknown keys refused."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from calibration.observers import CALIBRATORS
from contracts.errors import InputError, unknown_name
from engines import registry as backends
from engines.backend import PRECISIONS, Precision
from harness.attacks import registry as attacks
from harness.attacks.ball import Norm, check_radius
from harness.data import registry as data_sets
from harness.measurement.window import PROFILES
from harness.models.build import check_name
from harness.robustness.arms import ARMS


class Section(BaseModel):
    """A section of the file: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _listed_unless_auto(value: Any) -> Any:
    return value if value == "auto" else _listed(value)


def _in_order(value: Any) -> Any:
    return value if value == "auto" else tuple(sorted(set(value)))


def _among(kind: str, known: tuple[str, ...]) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, str) and value not in known:
            raise unknown_name(kind, value, known)
        return value

    return BeforeValidator(check)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise InputError("an empty list where at least one value is asked for")
    return tuple(dict.fromkeys(values))


_LISTED, _DISTINCT = BeforeValidator(_listed), AfterValidator(_distinct)


def _data_set(name: str) -> str:
    if ":" not in name:  # a user's own is found when its images are wanted: a board that measures has no need of them
        data_sets.check_name(name)
    return name


# Strict: true is no number, and "5" is a string.
Epsilon = Annotated[float, Field(gt=0.0, le=1.0, strict=True)]
Positive = Annotated[float, Field(gt=0.0, strict=True)]
NotNegative = Annotated[float, Field(ge=0.0, strict=True)]
AtLeastOne = Annotated[int, Field(ge=1, strict=True)]
Calibrator = Annotated[str, _among("calibrator", CALIBRATORS)]
Backends = Annotated[
    tuple[Annotated[str, _among("backend", (*backends.NAMES, backends.AUTO))], ...], _LISTED, _DISTINCT
]
Precisions = Annotated[tuple[Annotated[Precision, _among("precision", PRECISIONS)], ...], _LISTED, _DISTINCT]
Attacks = Annotated[tuple[Annotated[str, _among("attack", (*attacks.NAMES, *attacks.SETS))], ...], _LISTED, _DISTINCT]
Epsilons = Annotated[tuple[Positive, ...], _LISTED, _DISTINCT]
Arms = Annotated[
    tuple[Annotated[str, _among("arm", ARMS)], ...],
    _LISTED,
    _DISTINCT,
    AfterValidator(lambda arms: tuple(sorted(arms, key=ARMS.index))),  # they run in this order whatever was asked
]
KeepFloat = Annotated[
    Literal["auto"] | tuple[str, ...], BeforeValidator(_listed_unless_auto), AfterValidator(_in_order)
]
Batches = Annotated[tuple[AtLeastOne, ...], _LISTED, _DISTINCT]


class Data(Section):
    """Which images; `size` resizes an image folder, `calibration` names a file of images that calibrate."""

    name: Annotated[str, AfterValidator(_data_set)] = "digits"
    path: str | None = None
    size: AtLeastOne | None = None
    calibration: str | None = None
    calibration_samples: AtLeastOne = 512


class Model(Section):
    """Which network: a name, a user's own factory, or an ONNX file; a checkpoint spares the training."""

    name: str | None = None
    factory: str | None = None
    onnx: str | None = None
    checkpoint: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Model:
        given = [value for value in (self.name, self.factory, self.onnx) if value is not None]
        if len(given) != 1:
            raise InputError("model needs one of name, factory and onnx")
        if self.onnx is not None and self.checkpoint is not None:
            raise InputError(
                "model.checkpoint belongs to a torch model, an ONNX file has its weights inside: remove it"
            )
        if self.name is not None:
            check_name(self.name)
        return self


class Learning(Section):
    """What training and fine-tuning share."""

    epochs: AtLeastOne = 4
    epsilon: Epsilon = 0.05
    learning_rate: Positive = 0.1
    batch_size: AtLeastOne = 128
    weight_decay: NotNegative = 5e-4
    flip: bool = False
    pgd_steps: AtLeastOne = 7


class Train(Learning):
    """Training of the base model."""

    method: Literal["standard", "n-fgsm", "pgd"] = "standard"


class Prune(Section):
    """Structured pruning; `sparsity` is the share of channels that go."""

    method: Literal["none", "l1"] = "none"
    sparsity: Annotated[float, Field(gt=0.0, lt=1.0, strict=True)] = 0.5
    round_to: AtLeastOne = 8


class Quantize(Section):
    """The quantizers; `keep_float` names layers that get none, or lets `max_drop` (points) choose them: "auto"."""

    bits: Annotated[int, Field(ge=1, le=16, strict=True)] = 8
    calibrator: Calibrator = "percentile"
    calibration_data: Literal["clean", "adversarial", "mixed"] = "clean"
    keep_float: KeepFloat = ()
    max_drop: Annotated[float, Field(gt=0.0, le=100.0, strict=True)] = 0.5
    sensitivity_samples: AtLeastOne = 256


class Finetune(Learning):
    """Fine-tuning of the twin, through its quantizers; activation ranges stay, or follow the activations."""

    method: Literal["none", "standard", "n-fgsm", "pgd"] = "n-fgsm"
    learning_rate: Positive = 0.05
    ranges: Literal["frozen", "moving-average"] = "frozen"


class Build(Section):
    """Which engines, how many more are built of each to see how far they differ, and each backend's own options."""

    SECTIONS: ClassVar[tuple[str, ...]] = backends.NAMES

    precision: Precisions = ("int8",)
    backend: Backends = (backends.AUTO,)
    rebuilds: Annotated[int, Field(ge=0, le=20, strict=True)] = 0
    options: dict[str, dict[str, Any]] = Field(default={}, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "options" in values:
            return values
        options = {name: value for name, value in values.items() if name in backends.NAMES}
        return {**{name: value for name, value in values.items() if name not in options}, "options": options}

    @model_serializer(mode="wrap")
    def _as_in_the_file(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = inner(self)
        options = values.pop("options")
        return {**values, **options}

    @model_validator(mode="after")
    def _options_are_known(self) -> Build:
        for name, given in self.options.items():
            backends.options(name, given)
        return self


class Eval(Section):
    """The evaluation: several attacks count together, each epsilon by itself.

    `samples` takes the first images of the test split, all where it is left out; `gradients` is the type that gradients
    are computed in, half precision where the machine has it unless float32 is named; `attack_images` a file of
    adversarial images that were made elsewhere.
    """

    attack: Attacks = ("pgd",)
    norm: Norm = "linf"
    epsilon: Epsilons = (0.05,)
    arms: Arms = ("transfer", "loop")
    samples: AtLeastOne | None = None
    gradients: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attack_images: str | None = None

    @model_validator(mode="after")
    def _radii_are_meant(self) -> Eval:
        for epsilon in self.epsilon:
            check_radius(self.norm, epsilon)
        return self


class Measure(Section):
    """The measurement; `threads` 0 takes every core this process may use, `cuda_graph` counts for TensorRT alone."""

    batch: Batches = (1, 64)
    profile: Annotated[str, _among("profile", tuple(PROFILES))] = "quick"
    threads: Annotated[int, Field(ge=0, strict=True)] = 0
    cuda_graph: bool = False


class Experiment(Section):
    """A whole experiment."""

    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    data: Data = Data()
    model: Model = Model(name="digits-cnn")
    train: Train = Train()
    prune: Prune = Prune()
    quantize: Quantize = Quantize()
    finetune: Finetune = Finetune()
    build: Build = Build()
    eval: Eval = Eval()
    measure: Measure = Measure()
    attack: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _attacks_are_known(self) -> Experiment:
        for name, settings in self.attack.items():
            for key, value in settings.items():
                if isinstance(value, float) and not math.isfinite(value):
                    raise InputError(f"attack.{name}.{key}: Input should be a finite number, got {value}")
            attacks.attack(name, settings)
        return self

    @property
    def sparsity(self) -> float:
        """Share of channels that are pruned."""
        return self.prune.sparsity if self.prune.method != "none" else 0.0
