"""What a result of the whole robustness protocol has: its steps, its sanity rules, what was lost where."""

from __future__ import annotations

from typing import Any


def rate(value: float, low: float, high: float, n: int = 360) -> dict[str, Any]:
    return {"value": value, "n": n, "ci95": [low, high]}


def arm(value: float, low: float, high: float, unique_wins: int, queries: int, seconds: float) -> dict[str, Any]:
    return {**rate(value, low, high), "unique_wins": unique_wins, "queries": queries, "seconds": seconds}


def step(arm: str, attack: str, source: str | None, attacked: int, turned: int, **settings: object) -> dict[str, Any]:
    return {
        "arm": arm,
        "attack": attack,
        "source": source,
        "attacked": attacked,
        "turned": turned,
        "queries": 41 * attacked,
        "seconds": 0.0123 * attacked,
        "settings": settings,
    }


STEPS = [
    step("transfer", "apgd-ce", "float", 350, 97, steps=100, restarts=1, rho=0.75),
    step("transfer", "apgd-ce", "twin", 253, 21, steps=100, restarts=1, rho=0.75),
    step("transfer", "apgd-ce", "twin", 232, 2, steps=100, restarts=2, rho=0.75),
    step("loop", "apgd-dlr", "twin", 350, 128, steps=100, random_start=True),
    step("query", "square", None, 218, 3, queries=5000, p=0.8),
    step("replay", "theirs", "file", 350, 60),
]
STAGES = [
    {"stage": "base", "clean": rate(0.9861, 0.9678, 0.9941), "robust": rate(0.6583, 0.6079, 0.7054)},
    {"stage": "pruned", "clean": rate(0.9778, 0.9568, 0.9887), "robust": rate(0.6278, 0.5768, 0.6761)},
    {"stage": "float", "clean": rate(0.9778, 0.9568, 0.9887), "robust": rate(0.6278, 0.5768, 0.6761)},
    {"stage": "twin", "clean": rate(0.975, 0.9533, 0.9868), "robust": rate(0.6306, 0.5796, 0.6788)},
    {"stage": "engine", "clean": rate(0.9722, 0.9497, 0.9848), "robust": rate(0.6056, 0.5543, 0.6546)},
]
SANITY: list[dict[str, Any]] = [
    {"rule": "robust is at most clean", "held": True, "told": "60.6 % against 97.2 %"},
    {"rule": "one step is not stronger than many", "held": True, "told": "fgsm turned 71 images, apgd-ce 120"},
    {"rule": "a large epsilon fools nearly everything", "held": True, "told": "at epsilon 0.5, 0.0 % are left"},
    {"rule": "random noise is the weakest", "held": True, "told": "noise turned 4 images"},
    {
        "rule": "the black box is not stronger than the gradients",
        "held": False,
        "told": "square turned 3 images that no gradient attack did: gradients may be masked; try more steps, or eot",
    },
    {"rule": "doubling the steps changes nothing", "held": None, "told": "there was no time left for 200 steps"},
]
WARNING = "the loop arm stopped after 20 of 40 iterations without reaching a plateau"
ROBUSTNESS: list[dict[str, Any]] = [
    {
        "attack": "autoattack",
        "norm": "linf",
        "epsilon": 0.05,
        "settings": {"steps": 100, "seed": 0},
        "worst_case": rate(0.6056, 0.5543, 0.6546),
        "arms": {
            "transfer": arm(0.6389, 0.5881, 0.6868, 12, 360, 1.24),
            "loop": arm(0.6167, 0.5655, 0.6655, 20, 7200, 18.7),
            "query": arm(0.9639, 0.9392, 0.9788, 3, 1_090_000, 61.2),
            "noise": arm(0.9611, 0.9358, 0.9767, 0, 3500, 0.4),
        },
        "warnings": [WARNING, SANITY[4]["told"]],
        "steps": STEPS,
        "skipped": {"boundary": "a hard-label attack was not asked for"},
        "minimal_norm": {"median": 0.0312, "n": 350, "turned": 349, "reason": None},
        "attribution": {"attack": "apgd-ce", "stages": STAGES},
        "sanity": SANITY,
        "gradients": "bfloat16",
    },
    {
        "attack": "autoattack",
        "norm": "linf",
        "epsilon": 0.1,
        "settings": {"steps": 100},
        "worst_case": rate(0.1194, 0.0899, 0.157),
        "arms": {"transfer": arm(0.1194, 0.0899, 0.157, 300, 360, 1.24)},
        "warnings": [],
        "minimal_norm": {"median": None, "n": 350, "turned": 170, "reason": "more than half were never turned"},
    },
    {
        "attack": "autoattack",
        "norm": "linf",
        "epsilon": 0.025,
        "settings": {},
        "worst_case": rate(0.8444, 0.8034, 0.8783),
        "arms": {},
        "warnings": [],
    },
    {
        "attack": "pgd+square",
        "norm": "l2",
        "epsilon": 0.5,
        "settings": {},
        "worst_case": rate(0.7, 0.6508, 0.7451),
        "arms": {"loop": arm(0.7, 0.6508, 0.7451, 98, 7200, 18.7)},
        "warnings": [],
    },
]
REPEATABILITY = {
    "images": 200,
    "runs": 3,
    "changed_by_run": 0,
    "changed_by_position": 0,
    "changed_by_batch": 0,
    "largest_difference": 1.2e-7,
    "votes": 1,
    "fault": None,
}
WAVERING = {**REPEATABILITY, "changed_by_run": 7, "changed_by_batch": 2, "largest_difference": 0.031, "votes": 5}
RULE = "the first images, in the test split's order, that some arm turned."
TURNED_BY = ("loop, apgd-dlr on twin", "transfer, apgd-ce on float", "", "query, square")

TOLD = (
    "60.6 % [55.4, 65.5]",
    "transfer: apgd-ce on float, apgd-ce on twin; loop: apgd-dlr on twin; query: square; replay: theirs from a file",
    "boundary did not run: a hard-label attack was not asked for",
    "median 0.0312 (linf) of the 350 images that are right when clean, 349 of them turned",
    "no median of the 350 images that are right when clean, 170 of them turned: more than half were never turned",
    "4 of 6 sanity rules held, 1 could not be judged",
    "sanity rule 'the black box is not stronger than the gradients' did not hold: square turned 3 images that no "
    "gradient attack did: gradients may be masked; try more steps, or eot",
    "there was no time left for 200 steps",
    "bfloat16, decisions in float32",
    "pgd+square l2 0.5",
    WARNING,
    "200 images asked 3 times, in other places and batches: no decision changed, scores up to 1.20e-07 of "
    "their spread apart",
)
"""The sentences of it that every report has."""


def robust(values: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that make a result one of the whole protocol."""
    return {
        "robustness": ROBUSTNESS,
        "accuracy": {**values["accuracy"], "repeatability": REPEATABILITY},
    }
