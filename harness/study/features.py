"""What models make of images before the last layer, in two dimensions: the paper's figure 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from contracts.files import read_json, whole_file, write_json
from harness.study.folder import StudyFolder

if TYPE_CHECKING:
    from harness.compression.twin import Twin
    from harness.data.dataset import Split
    from harness.workflow.artifact import Artifact

FILE = "features.npz"

_IMAGES = 1000  # the first of the test split
_BATCH = 250
_SEED = 0


def keep_features(twin: Twin, split: Split, class_names: Sequence[str], folder: Path) -> None:
    """Write what a twin hands to its last quantized operation, of the first images of a split.

    Args:
        twin: quantizers on where the cell is quantized.
        split: the images.
        class_names: of its labels.
        folder: the cell's run folder.
    """
    shown = split.take(slice(_IMAGES))
    values = np.concatenate(list(_features(twin, shown)))
    with whole_file(folder / FILE) as path, path.open("wb") as file:
        np.savez_compressed(file, features=values, labels=shown.labels, class_names=np.array(class_names))


def are_current(folder: Path, final: Artifact | None) -> bool:
    """Say whether features lie in a cell's run folder, and were taken after its final checkpoint was made, if given."""
    path = folder / FILE
    if not path.exists() or final is None:
        return path.exists()
    return path.stat().st_mtime >= datetime.fromisoformat(final.manifest["created"]).timestamp()


def write_embedding(folder: StudyFolder, cells: Sequence[str], path: Path) -> None:
    """Embed every cell's features by t-SNE (van der Maaten and Hinton 2008) and write all as panels.

    Args:
        folder: the study's.
        cells: names of cells, a panel each; those without features are left out.
        path: the JSON file; left as it is where it holds these panels and is newer than all of them, removed where no
            cell has features.
    """
    found = {name: place for name in cells if (place := folder.cell(name) / FILE).exists()}
    if not found:
        path.unlink(missing_ok=True)
        return
    newest = max(place.stat().st_mtime for place in found.values())
    if _titles(path) == list(found) and path.stat().st_mtime >= newest:
        return
    write_json(path, {"panels": [_panel(name, place) for name, place in found.items()]})


def _features(twin: Twin, split: Split) -> Iterator[npt.NDArray[np.float32]]:
    import torch

    for start in range(0, len(split), _BATCH):
        seen: dict[str, Any] = {}
        twin.run(torch.from_numpy(split.images[start : start + _BATCH]), seen.__setitem__)
        yield list(seen.values())[-1].flatten(1).float().numpy()


def _titles(path: Path) -> list[str]:
    """Return the titles of the panels that are written; none where the file is missing or damaged."""
    try:
        return [str(panel["title"]) for panel in read_json(path, "file of t-SNE points")["panels"]]
    except (InputError, KeyError, TypeError):
        return []


def _panel(title: str, place: Path) -> dict[str, Any]:
    from sklearn.manifold import TSNE

    with np.load(place, allow_pickle=False) as arrays:
        features, labels, class_names = arrays["features"], arrays["labels"], arrays["class_names"]
    perplexity = min(30.0, (len(features) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=_SEED).fit_transform(features.astype(np.float32))
    rows = [[round(float(x), 3), round(float(y), 3), int(label)] for (x, y), label in zip(points, labels, strict=True)]
    return {"title": title, "classes": class_names.tolist(), "points": rows}
