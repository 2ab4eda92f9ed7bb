"""Whether a window can be believed, and if not why and what would mend it: one function a rule.

What a device does not answer counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from harness.devices.nvidia import throttle_names
from harness.devices.state import State, Value
from harness.devices.watch import FOREIGN, Watched

BUSY_LIMIT = 0.25
"""The share of the cores that others may use before a window: something may be ending."""
FOREIGN_LIMIT = 0.10
"""The share of the measured cores that others may use during a window, on average."""
STEAL_LIMIT = 0.05
"""The share of time that a hypervisor may take away."""
SWAP_LIMIT_PAGES = 256
"""How many pages may come back from swap, for whatever program: a mebibyte."""
CLOCK_SPREAD = 0.05
"""How far a clock's 5th and 95th percentile may lie apart, as a share of the higher."""

Rule = Callable[[Watched], Iterator[str]]


def doubts(watched: Watched) -> tuple[str, ...]:
    """Return why a window is not valid, a sentence each with its way out; nothing where it is."""
    return tuple(dict.fromkeys(sentence for rule in RULES for sentence in rule(watched)))


def _governor(watched: Watched) -> Iterator[str]:
    remedy = "set one for good with 'sudo cpupower frequency-set -g performance'"
    yield from _changed(watched, "governor", "CPU frequency governor", remedy)


def _power_mode(watched: Watched) -> Iterator[str]:
    remedy = "set one for good with 'sudo nvpmodel -m NUMBER' ('nvpmodel -q --verbose' lists them)"
    yield from _changed(watched, "power_mode", "power mode", remedy)


def _neighbours(watched: Watched) -> Iterator[str]:
    busy = _number(watched.before, "busy_fraction")
    if busy is not None and busy > BUSY_LIMIT:
        yield (
            f"other programs used {busy:.0%} of the CPU before the window (limit {BUSY_LIMIT:.0%}): "
            "stop them and measure again"
        )
    foreign = watched.during.get(FOREIGN)
    if foreign is not None and foreign.mean > FOREIGN_LIMIT:
        yield (
            f"other programs used {foreign.mean:.0%} of the measured cores during the window (limit "
            f"{FOREIGN_LIMIT:.0%}): stop them and measure again"
        )


def _steal(watched: Watched) -> Iterator[str]:
    before, after = watched.before, watched.after
    shares = [value for state in (before, after) if (value := _number(state, "steal_fraction")) is not None]
    total, stolen = _growth(watched, "cpu_total_s"), _growth(watched, "cpu_steal_s")
    if total and stolen is not None:
        shares.append(stolen / total)
    steal = max(shares, default=0.0)
    if steal > STEAL_LIMIT:
        yield (
            f"the hypervisor took {steal:.0%} of the CPU time away (limit {STEAL_LIMIT:.0%}): "
            "measure on a dedicated or idle host"
        )


def _quota(watched: Watched) -> Iterator[str]:
    throttled = _growth(watched, "quota_throttled")
    if throttled:
        yield (
            f"the container's CPU quota stopped the process {throttled:.0f} times during the window: give it more "
            "with '--cpus', or fewer threads with '--set measure.threads=N', and measure again"
        )


def _swap(watched: Watched) -> Iterator[str]:
    pages = _growth(watched, "swapped_in_pages")
    if pages is not None and pages > SWAP_LIMIT_PAGES:
        yield (
            f"{pages:.0f} pages came back from swap during the window: free memory, or take a smaller batch, and "
            "measure again"
        )


def _held_down(watched: Watched) -> Iterator[str]:
    names = [
        str(name)
        for state in (watched.before, watched.after)
        if (name := state.get("gpu_throttle")) not in {None, "none"}
    ]
    sampled = 0
    for bits in watched.known("gpu_throttle_bits"):
        sampled |= int(bits)
    if throttle_names(sampled) != "none":
        names.append(throttle_names(sampled))
    violations = {"power": "gpu_power_violation_s", "heat": "gpu_thermal_violation_s"}
    names += [f"{seconds:.2g} s for {what}" for what, key in violations.items() if (seconds := _growth(watched, key))]
    if names:
        yield (
            f"the GPU's clocks were held down ({', '.join(dict.fromkeys(names))}): cool it, raise its power limit with "
            "'sudo nvidia-smi -pl', or hold lower clocks with 'sudo nvidia-smi -lgc', and measure again"
        )


def _board_throttled(watched: Watched) -> Iterator[str]:
    events = _growth(watched, "throttle_events")
    if events is not None and events > 0:
        yield (
            f"the board throttled {events:.0f} times during the window: cool it, give it a stronger supply or a lower "
            "power mode, and measure again"
        )


def _clocks(watched: Watched) -> Iterator[str]:
    remedies = {
        "cpu_frequency_mhz": ("CPU", "sudo cpupower frequency-set -g performance"),
        "gpu_clock_mhz": ("GPU", "sudo nvidia-smi -lgc MHZ"),
    }
    is_board = watched.before.get("power_mode") is not None
    for key, (name, command) in remedies.items():
        known = watched.known(key)
        if len(known) < 3:
            continue
        low, high = np.percentile(known, [5, 95])
        if high > 0 and (high - low) / high > CLOCK_SPREAD:
            hold = "sudo jetson_clocks" if is_board else command
            yield (
                f"the {name}'s clock moved from {low:.0f} to {high:.0f} MHz during the window: hold it with '{hold}', "
                "and measure again"
            )


RULES: tuple[Rule, ...] = (
    _governor,
    _power_mode,
    _neighbours,
    _steal,
    _quota,
    _swap,
    _held_down,
    _board_throttled,
    _clocks,
)


def _changed(watched: Watched, key: str, name: str, remedy: str) -> Iterator[str]:
    before, after = watched.before.get(key), watched.after.get(key)
    if before is not None and after is not None and before != after:
        yield f"the {name} changed from {before} to {after} during the window: {remedy}, and measure again"


def _growth(watched: Watched, key: str) -> float | None:
    """Return how far a counter moved; None where it was not read, or started over."""
    first, last = _number(watched.before, key), _number(watched.after, key)
    return None if first is None or last is None or last < first else last - first


def _number(state: State, key: str) -> float | None:
    value: Value = state.get(key)
    return value if isinstance(value, float | int) else None
