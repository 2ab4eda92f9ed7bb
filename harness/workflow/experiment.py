"""The experiment file's schema: one section a stage, unknown keys refused."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from contracts.errors import InputError
from engines import registry as backends
from harness.attacks import registry as attacks
from harness.attacks.ball import Norm, check_radius
from harness.compression.pruning import METHODS, Scope, Target
from harness.measurement.window import PROFILES
from harness.models.build import check_name
from harness.training.recipe import Keep, Method, Precision, Schedule
from harness.workflow.setting_types import (
    ORDERS,
    Arms,
    AtLeastOne,
    Attacks,
    Backends,
    Batches,
    Calibrator,
    DataSetName,
    Epsilon,
    Epsilons,
    Fraction,
    FromZero,
    KeepFloat,
    Names,
    NotNegative,
    Order,
    Positive,
    Precisions,
    Section,
    among,
)


class Data(Section):
    """Which images; `size` resizes an image folder, `calibration` names a file of images that calibrate."""

    name: DataSetName = "digits"
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
    """What training and fine-tuning share.

    `schedule` is the learning rate's way; `crop` shifts images by up to so many pixels; `ema_decay` averages the
    weights; `validation_samples` images of the training split are kept aside and judge every epoch, of which the best
    is kept.
    """

    epochs: AtLeastOne = 4
    epsilon: Epsilon = 0.05
    learning_rate: Positive = 0.1
    schedule: Schedule = "one-cycle"
    batch_size: AtLeastOne = 128
    weight_decay: NotNegative = 5e-4
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0, strict=True)] = 0.0
    gradient_clip: NotNegative = 1.0
    flip: bool = False
    crop: FromZero = 0
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0, strict=True)] = 0.0
    pgd_steps: AtLeastOne = 7
    trades_beta: NotNegative = 6.0
    precision: Precision = "auto"
    validation_samples: FromZero = 512
    keep: Keep = "best"


class Train(Learning):
    """Training of the base model."""

    method: Method = "standard"


class Prune(Section):
    """Structured pruning.

    `sparsity` is the share of `target` that goes: of every layer's channels, of parameters, of multiply-accumulates, or
    of the engine's measured latency. `limits` gives layers a share of their own; `ignore` names modules that stay
    whole; between `steps` the model is fine-tuned for `step_epochs`; `gradient_samples` training images tell `taylor`
    and `robust-taylor` what a channel is worth.
    """

    method: Annotated[str, among("pruning method", ("none", *METHODS))] = "none"
    sparsity: Fraction = 0.5
    target: Target = "channels"
    scope: Scope = "local"
    limits: dict[str, Annotated[float, Field(ge=0.0, lt=1.0)]] = Field(default={})
    max_sparsity: Fraction = 0.95
    ignore: Names = ()
    round_to: AtLeastOne = 8
    steps: AtLeastOne = 1
    step_epochs: AtLeastOne = 1
    gradient_samples: AtLeastOne = 1024


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

    method: Literal["none", Method] = "n-fgsm"
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

    `samples` takes the first images of the test split, all where it is left out; `attribution` has the models on the
    way attacked too; `gradients` is the type that gradients are computed in, half precision where the machine has it
    unless float32 is named; `attack_images` a file of adversarial images that were made elsewhere.
    """

    attack: Attacks = ("pgd",)
    norm: Norm = "linf"
    epsilon: Epsilons = (0.05,)
    arms: Arms = ("transfer", "loop")
    samples: AtLeastOne | None = None
    attribution: bool = True
    gradients: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attack_images: str | None = None

    @model_validator(mode="after")
    def _radii_are_meant(self) -> Eval:
        for epsilon in self.epsilon:
            check_radius(self.norm, epsilon)
        return self


class Measure(Section):
    """The measurement.

    `threads` 0 takes every core of `cores`, which left empty are those this process may use; `cuda_graph` counts for
    TensorRT alone.
    """

    batch: Batches = (1, 64)
    profile: Annotated[str, among("profile", tuple(PROFILES))] = "quick"
    threads: Annotated[int, Field(ge=0, strict=True)] = 0
    cuda_graph: bool = False
    cores: tuple[Annotated[int, Field(ge=0, strict=True)], ...] = ()


class Experiment(Section):
    """A whole experiment; `order` is that of compression and fine-tuning."""

    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    order: Order = ORDERS[0]
    data: Data = Data()
    model: Model = Model(name="digits-cnn")
    train: Train = Train()
    prune: Prune = Prune()
    quantize: Quantize = Quantize()
    finetune: Finetune = Finetune()
    build: Build = Build()
    eval: Eval = Eval()
    measure: Measure = Measure()
    attack: dict[str, dict[str, Any]] = Field(default={})

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
