"""HTML pages from the Jinja2 templates in train/templates."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_html(template: str, **values: Any) -> str:
    """Fill in a template; every value that is not `Markup` is escaped."""
    environment = Environment(
        loader=PackageLoader("train"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
