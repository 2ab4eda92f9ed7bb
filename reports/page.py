"""What every page is made with: templates, JSON that a script element may hold, the chart library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports.robustness_wording import (
    cautions,
    is_doubtful,
    minimal_norm_told,
    ran_told,
    repeatability_told,
    sanity_told,
    source_told,
    stage_rows,
)
from reports.wording import (
    against_told,
    attack_name,
    checks_told,
    factor,
    forms,
    interval,
    layers_told,
    mac_shares,
    moment,
    percent,
    plain,
    quantity,
    quantized_how,
    share,
    significant,
    size,
    spans_told,
)

if TYPE_CHECKING:
    from jinja2 import Environment


def plotly_script() -> str:
    """Return the chart library, to stand once inside a script element."""
    from plotly.offline import get_plotlyjs

    # A closing tag inside the library would end its element early; in JavaScript the backslash means nothing.
    script: str = get_plotlyjs()
    return script.replace("</script", "<\\/script")


def embeddable_json(value: object) -> str:
    """Return JSON that cannot end the script element it lies in, whatever its strings hold."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_environment() -> Environment:
    """Return what renders the templates: autoescaping, strict, with the filters that turn numbers into words."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        interval=interval, moment=moment, percent=percent, quantity=quantity, significant=significant, size=size
    )
    environment.filters.update(attack_name=attack_name, mac_shares=mac_shares, quantized_how=quantized_how, share=share)
    environment.filters.update(forms=forms, layers_told=layers_told, checks_told=checks_told, spans_told=spans_told)
    environment.filters.update(cautions=cautions, minimal_norm_told=minimal_norm_told, ran_told=ran_told, factor=factor)
    environment.filters.update(repeatability_told=repeatability_told, sanity_told=sanity_told, source_told=source_told)
    environment.filters.update(against_told=against_told)
    environment.filters.update(stage_rows=stage_rows, is_doubtful=is_doubtful)
    return environment


def _shown(value: object) -> object:
    """Make foreign text harmless to read as well as to parse; what is marked as safe stays as it is."""
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
