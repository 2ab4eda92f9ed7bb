from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.workflow.experiment import Experiment
from harness.workflow.settings import DEFAULT_FILE, RECORD, Resolved, built_in, check, record, resolve

pytestmark = pytest.mark.core


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: str, text: str) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def overridden(*overrides: str) -> Experiment:
    return resolve("digits", None, overrides).experiment


def refusal(*overrides: str) -> str:
    """Return the sentence that a setting is refused with; nothing may be written for it."""
    with pytest.raises(InputError) as caught:
        overridden(*overrides)
    assert list(Path().iterdir()) == []
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("name", ["cifar10", "digits", "fashion-mnist", "fashion-mnist-pruned"])
def test_a_built_in_name_resolves(name: str) -> None:
    assert name in built_in()
    found = resolve(name, None, ())
    assert found.name == name
    assert found.workspace == Path("runs") / name
    assert name.startswith(found.experiment.data.name)
    assert (found.experiment.prune.method == "l1") == name.endswith("-pruned")


def test_without_a_name_it_is_digits() -> None:
    found = resolve(None, None, ())
    assert (found.name, found.experiment.data.name) == ("digits", "digits")


def test_without_a_name_the_current_folders_file_comes_first(tmp_path: Path) -> None:
    write(DEFAULT_FILE, "[train]\nepochs = 17\n")
    found = resolve(None, None, ())
    assert found.experiment.train.epochs == 17
    assert found.name == tmp_path.name


def test_a_file_goes_by_its_own_name_or_the_one_inside() -> None:
    assert resolve(str(write("mine.toml", "seed = 1")), None, ()).workspace == Path("runs/mine")
    assert resolve(str(write("mine.toml", "name = 'other'")), None, ()).workspace == Path("runs/other")


@pytest.mark.parametrize("name", ["", ".", "..", "../elsewhere", "/tmp/elsewhere"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    path = write("mine.toml", f"name = '{name}'")
    with pytest.raises(InputError, match=r"mine\.toml: name .* cannot be the name of a run folder"):
        resolve(str(path), None, ())
    assert resolve(str(path), Path("named"), ()).workspace == Path("named")


def test_a_run_folder_of_another_experiment_is_not_taken_for_the_named_one() -> None:
    record(resolve("fashion-mnist", None, ()))
    with pytest.raises(InputError, match=r"runs/fashion-mnist holds the experiment fashion-mnist, not digits"):
        resolve("digits", Path("runs/fashion-mnist"), ())
    assert resolve("fashion-mnist", Path("runs/fashion-mnist"), ()).name == "fashion-mnist"


def test_the_run_folders_record_is_the_experiment() -> None:
    record(resolve("digits", None, ["train.epochs=17"]))
    assert resolve("digits", None, ()).experiment.train.epochs == 17
    assert resolve(None, None, ()).experiment.train.epochs == 17
    assert resolve(None, Path("runs/digits"), ()).experiment.train.epochs == 17
    assert resolve(None, Path("runs/digits"), ["train.epochs=3"]).experiment.train.epochs == 3
    assert resolve(None, Path("runs/other"), ()).experiment.train.epochs == 20


def test_a_record_keeps_the_experiments_name_wherever_it_lies() -> None:
    record(resolve("digits", None, ()))
    Path("runs/digits").rename("carried")
    assert resolve(None, Path("carried"), ()).name == "digits"


def test_a_file_that_is_named_wins_over_the_record() -> None:
    path = write("mine.toml", "[train]\nepochs = 17\n")
    record(resolve(str(path), None, ()))
    path.write_text("[train]\nepochs = 18\n")
    assert resolve(str(path), None, ()).experiment.train.epochs == 18
    assert resolve(str(path), Path("runs/mine"), ()).experiment.train.epochs == 18
    assert resolve(None, Path("runs/mine"), ()).experiment.train.epochs == 17


@pytest.mark.parametrize("name", built_in())
def test_a_record_reads_back_as_the_same_experiment(name: str) -> None:
    overrides = [
        "eval.samples=60",
        "eval.epsilon=[0.05, 0.03137254901960784]",
        "attack.pgd.step_size=0.007",
        "build.precision=bf16",
        "measure.batch=[1, 3]",
        "data.path=here",
    ]
    first = resolve(name, None, overrides)
    record(first)
    assert resolve(None, first.workspace, ()) == first
    record(resolve(None, first.workspace, ()))
    assert resolve(None, first.workspace, ()) == first


@given(
    seed=st.integers(0, 2**32 - 1),
    epsilon=st.floats(1e-9, 1.0),
    rate=st.floats(1e-9, 1e9),
    batches=st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
    path=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_any_experiment_survives_its_record(
    tmp_path_factory: pytest.TempPathFactory, seed: int, epsilon: float, rate: float, batches: list[int], path: str
) -> None:
    values: dict[str, Any] = {
        "seed": seed,
        "data": {"name": "npz", "path": path},
        "train": {"learning_rate": rate},
        "eval": {"epsilon": epsilon},
        "measure": {"batch": batches},
    }
    folder = tmp_path_factory.mktemp("record")
    first = Resolved("any", check(values, "values"), folder)
    record(first)
    assert resolve(None, folder, ()) == first


def test_an_override_is_a_toml_value_or_a_bare_word() -> None:
    found = overridden(
        "train.method=pgd",
        'finetune.method="standard"',
        "train.flip=true",
        "train.learning_rate=1e-3",
        "eval.epsilon=[0.1, 0.2, 0.1]",
        "eval.samples = 7",
        "build.backend=onnxruntime",
        "attack.pgd.steps=3",
        "data.path=some/where else",
    )
    assert (found.train.method, found.finetune.method, found.train.flip) == ("pgd", "standard", True)
    assert (found.train.learning_rate, found.eval.epsilon, found.eval.samples) == (1e-3, (0.1, 0.2), 7)
    assert (found.build.backend, found.attack) == (("onnxruntime",), {"pgd": {"steps": 3}})
    assert found.data.path == "some/where else"


def test_the_last_override_counts() -> None:
    assert overridden("seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.epoch=3", "unknown key train.epoch; did you mean 'epochs'?"),
        ("build.tensort.tf32=true", "unknown key build.tensort; did you mean 'tensorrt'?"),
        ("train.zzz=3", "unknown key train.zzz; known here: epochs, "),
        ("trian.epochs=3", "unknown key trian; did you mean 'train'?"),
        ("train=3", "train: Input should be a valid dictionary"),
        ("seed.x=3", "seed: Input should be a valid integer"),
        ("train.epochs.x=3", "epochs is a value, not a section"),
        ("train.epochs", "must be written section.key=value"),
        ("=3", "must be written section.key=value"),
        ("train.=3", "must be written section.key=value"),
        ("train.epochs=many", "train.epochs: Input should be a valid integer, got 'many'"),
        ('train.epochs="5"', "train.epochs: Input should be a valid integer, got '5'"),
        ("train.epochs=true", "train.epochs: Input should be a valid integer, got True"),
        ("train.epochs=2.5", "train.epochs: Input should be a valid integer, got 2.5"),
        ("train.epochs=0", "train.epochs: Input should be greater than or equal to 1, got 0"),
        ("train.flip=7", "train.flip: Input should be a valid boolean"),
        ("train.learning_rate=0", "train.learning_rate: Input should be greater than 0"),
        ("train.learning_rate=nan", "train.learning_rate: Input should be"),
        ("train.learning_rate=inf", "train.learning_rate: Input should be a finite number"),
        ("train.learning_rate=true", "train.learning_rate: Input should be a valid number"),
        (
            "train.method=free",
            "train.method: Input should be 'standard', 'n-fgsm', 'fgsm-rs', 'pgd' or 'trades', got 'free'",
        ),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        ("prune.sparsity=1", "prune.sparsity: Input should be less than 1"),
        ("quantize.calibrator=minmaks", "unknown calibrator 'minmaks'; did you mean 'minmax'?"),
        ("data.name=digts", "unknown data set 'digts'; did you mean 'digits'?"),
        ("data.size=0", "data.size: Input should be greater than or equal to 1"),
        ("model.name=digit-cnn", "unknown model 'digit-cnn'; did you mean 'digits-cnn'?"),
        ('model={name="cnn8",factory="package.module:callable"}', "model needs one of name, factory and onnx"),
        ("build.backend=openvin", "unknown backend 'openvin'; did you mean 'openvino'?"),
        ("build.backend=[]", "an empty list"),
        ("build.precision=int9", "unknown precision 'int9'; did you mean 'int8'?"),
        ("eval.attack=pdg", "unknown attack 'pdg'; did you mean 'pgd'?"),
        ("eval.arms=[transfer, lop]", "unknown arm"),
        ('eval.arms=["transfer", "lop"]', "unknown arm 'lop'; did you mean 'loop'?"),
        ("eval.epsilon=nan", "eval.epsilon.0: Input should be a finite number, got nan"),
        ("eval.epsilon=2", "for levels of an 8-bit image write 0.007843 (2/255)"),
        ("eval.epsilon=0", "eval.epsilon.0: Input should be greater than 0, got 0"),
        ("eval.norm=l3", "eval.norm: Input should be 'linf' or 'l2', got 'l3'"),
        ("eval.gradients=float64", "eval.gradients: Input should be 'auto', 'float32', 'bfloat16' or 'float16'"),
        ("eval.epsilon=-1", "eval.epsilon.0: Input should be greater than 0, got -1"),
        ("eval.epsilon=[0.1, true]", "eval.epsilon.1: Input should be a valid number, got True"),
        ("eval.samples=0", "eval.samples: Input should be greater than or equal to 1"),
        ("measure.batch=0", "measure.batch.0: Input should be greater than or equal to 1"),
        ("measure.profile=quik", "unknown profile 'quik'; did you mean 'quick'?"),
        ("attack.pgdd.steps=3", "unknown attack 'pgdd'; did you mean 'pgd'?"),
        ("attack.pgd.step=3", "attack.pgd has no setting 'step'; did you mean 'steps'?"),
        ("attack.pgd.steps=a", "attack.pgd.steps: Input should be a valid integer"),
        ("attack.pgd.steps=0", "steps and restarts must be at least 1"),
        ("attack.pgd.step_size=nan", "attack.pgd.step_size: Input should be a finite number, got nan"),
        ("attack.pgd.step_size=inf", "attack.pgd.step_size: Input should be a finite number, got inf"),
        ("attack=3", "attack: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(override: str, sentence: str) -> None:
    assert sentence in refusal(override)


def test_of_several_wrong_settings_one_is_named() -> None:
    found = refusal("train.epochs=0", "measure.batch=0", "trian.epochs=3")
    assert any(address in found for address in ("train.epochs", "measure.batch", "trian"))


def test_a_data_set_of_ones_own_need_not_be_here() -> None:
    assert overridden("data.name=my_package.pictures:load").data.name == "my_package.pictures:load"


def test_an_unknown_experiment_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown experiment 'digit'; did you mean 'digits'\?.*FILE.toml"):
        resolve("digit", None, ())


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"experiment file mine\.toml cannot be read: No such file"):
        resolve("mine.toml", None, ())


@pytest.mark.parametrize("content", [b"[train\nepochs = 1", b"seed = ", b"\xff\xfe", b"seed = 1\nseed = 2"])
def test_broken_toml_is_named(content: bytes) -> None:
    Path("mine.toml").write_bytes(content)
    with pytest.raises(InputError, match=r"experiment file mine\.toml is not TOML: "):
        resolve("mine.toml", None, ())


def test_a_wrong_setting_is_told_with_its_file() -> None:
    write("mine.toml", "[train]\nepoch = 3\n")
    with pytest.raises(InputError, match=r"^mine\.toml: unknown key train\.epoch; did you mean 'epochs'\?"):
        resolve("mine.toml", None, ())


def test_a_broken_record_is_told_with_its_place() -> None:
    write(f"runs/digits/{RECORD}", "[train")
    with pytest.raises(InputError, match=r"runs/digits/experiment\.toml is not TOML"):
        resolve("digits", None, ())
