"""Run app.py as Gradio serves it, without what `geoseg.page.security` adds.

    python -m tests.helpers.bare_app

Users of `--auth` log in by Gradio's own form.
"""

import sys
from typing import Any


def bare_options(host: str, root_path: str, accounts: list[str]) -> dict[str, Any]:
    """Return the options of `launch` that a Gradio app has which wants a login."""
    return {"auth": [tuple(account.split(":", 1)) for account in accounts] or None}


def main() -> None:
    import app
    import geoseg.page.app as page

    page.launch_options, page.protect = bare_options, lambda _: None
    app.main(sys.argv[1:])


if __name__ == "__main__":
    main()
