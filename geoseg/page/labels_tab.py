"""The tab Labels: labels that are most likely wrong, looked at one by one, each kept or doubted."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd  # type: ignore[import-untyped]

from geoseg.evaluation.label_errors import LabelError
from geoseg.page.backend import Backend
from geoseg.page.request import fields, source
from geoseg.page.set_tab import KEPT_SECONDS, score_set
from geoseg.page.set_table import SetTable, count, write_csv
from geoseg.page.viewer import message

FILE = "geoseg-labels.csv"
DECISIONS = {"keep": "kept", "doubt": "doubted"}
WHAT = (
    "Here the models agree with each other and not with the label. Each is worth a look, none is "
    "proven: models that all miss a faint groove doubt a sound label."
)
KINDS = {
    "missing": "a groove is missing from the label",
    "spurious": "a labelled groove that no model sees",
    "too wide": "the label is wider than what models see",
    "too narrow": "the label is narrower than what models see",
    "another shape": "the label has another shape",
}
NO_LABELS = "This set has no labels to review."
NEEDS_TWO = "It takes two models to compare; tick another one."
NONE = "The models doubt none of these labels."
NOTHING = "Nothing is searched yet."
STORED_UNDER = "geoseg"  # a name, no secret: the decisions outlive a restart of the server
Decisions = dict[str, dict[str, str]]  # by mark of the set, then by name of the patch


@dataclass(frozen=True, eq=False)
class Review:
    """The labels of one set to review.

    Attributes:
        mark: tells the set from others; folders have no name of their own.
        shown: what a message of the viewer says of the set, see `shown_set`.
        names: of the set's patches; of equal ones the second and later have a number.
        table: the scored set.
    """

    mark: str
    shown: tuple[str, ...]
    names: list[str]
    table: SetTable

    def decided(self, decisions: Decisions) -> list[str]:
        """Return what was decided on each suspect: "keep", "doubt" or an empty string."""
        known = decisions.get(self.mark, {})
        return [known.get(self.names[s.patch], "") for s in self.table.suspects]

    def rows(self, decisions: Decisions) -> pd.DataFrame:
        """Return the list, worst first; No. is the patch's place in the set, from 1."""
        suspects = self.table.suspects
        return pd.DataFrame(
            {
                "No.": [s.patch + 1 for s in suspects],
                "Patch": [self.table.names[s.patch] for s in suspects],
                "What seems wrong": [describe_kind(s) for s in suspects],
                "Doubt": [round(s.doubt, 2) for s in suspects],
                "Decision": [DECISIONS.get(d, "") for d in self.decided(decisions)],
            }
        )

    def tally(self, decisions: Decisions) -> str:
        """Return in words how many are decided."""
        numbers = Counter(self.decided(decisions))
        labels = count(len(self.table.suspects), "label", "labels")
        decided = numbers["keep"] + numbers["doubt"]
        return f"{decided} of {labels} decided: {numbers['keep']} kept, {numbers['doubt']} doubted"

    def csv(self, decisions: Decisions) -> str:
        """Return the list with its numbers and decisions as csv."""
        rows: list[Sequence[Any]] = [
            ["name", "well", "kind", "shift", "doubt", "agreement", "iou", "decision"]
        ]
        for s, decision in zip(self.table.suspects, self.decided(decisions), strict=True):
            name, well = self.table.names[s.patch], self.table.wells[s.patch]
            well = well.removeprefix("Well ") if well.startswith("Well ") else ""
            rows.append([name, well, s.kind, s.shift, s.doubt, s.agreement, s.iou, decision])
        return write_csv(rows)


def describe_kind(suspect: LabelError) -> str:
    """Return in words what seems wrong with a label."""
    if suspect.kind != "shifted":
        return KINDS[suspect.kind]
    side = "right" if suspect.shift > 0 else "left"
    columns = count(abs(suspect.shift), "column", "columns")
    return f"the label would fit {columns} further {side}"


def shown_set(asked: Any) -> tuple[str, ...]:
    """Return what a message of the viewer says of its set; letters are other labels."""
    message = fields(asked)
    kind = source(message)
    return (
        kind,
        str(message.get("uploads") if kind == "uploads" else ""),
        str(message.get("letters")),
    )


def make_review(table: SetTable, asked: Any) -> Review:
    """Make the list of a scored set, which a message of the viewer asked for."""
    seen: Counter[str] = Counter()
    names = []
    for name in table.names:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    content = json.dumps([table.label, len(names), names, str(fields(asked).get("letters"))])
    mark = hashlib.sha256(content.encode()).hexdigest()[:16]
    return Review(mark, shown_set(asked), names, table)


def decide(
    review: Review | None, decisions: Decisions, asked: Any, *, decision: str
) -> tuple[Decisions, bool]:
    """Decide on the label of the patch that is shown, again to undo it.

    Returns the decisions and whether the patch is in the list. Another set has none in it.
    """
    index = fields(asked).get("index")
    if review is None or review.shown != shown_set(asked):
        return decisions, False
    if index not in [s.patch for s in review.table.suspects]:
        return decisions, False
    name, known = review.names[index], dict(decisions.get(review.mark, {}))
    if known.get(name) == decision:
        del known[name]
    else:
        known[name] = decision
    return {**decisions, review.mark: known}, True


def add_labels_tab(backend: Backend, viewer: gr.HTML) -> None:
    """Add the contents of the tab Labels."""
    gr.Markdown(WHAT)
    with gr.Row():
        start = gr.Button(
            "Find labels to review", variant="primary", size="md", elem_id="labels-start"
        )
        cancel = gr.Button("Cancel", visible=False, size="md", elem_id="labels-cancel")
    tally = gr.Textbox(NOTHING, label="Labels", interactive=False, elem_id="labels-tally")
    with gr.Column(visible=False) as results:
        with gr.Row():
            buttons = {
                name: gr.Button(text, size="md", min_width=90, elem_id=f"{name}-label")
                for name, text in (("keep", "Keep (K)"), ("doubt", "Doubt (X)"))
            }
        table = gr.Dataframe(
            label="A click shows the patch",
            interactive=False,
            wrap=True,
            max_height=460,
            column_widths=["11%", "28%", "28%", "14%", "19%"],
            elem_id="labels-table",
        )
        download = gr.Button("Make the csv file", size="md", elem_id="labels-csv")
        file = gr.DownloadButton(
            "Save the csv file", size="md", visible=False, elem_id="labels-file"
        )
    review = gr.State(None, time_to_live=KEPT_SECONDS)
    decisions = gr.State({}, time_to_live=KEPT_SECONDS)
    stored = gr.BrowserState({}, storage_key="geoseg-labels", secret=STORED_UNDER)

    def run(
        asked: Any,
        known: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[dict[Any, Any]]:
        scored: SetTable | None = None
        for step in score_set(backend, asked, progress):
            yield {cancel: gr.Button(visible=True)}
            scored = step
        assert scored is not None  # the last step
        found, known = make_review(scored, asked), read_decisions(known)
        if not scored.labelled.any() or len(scored.models) < 2:
            reason = NEEDS_TWO if scored.labelled.any() else NO_LABELS
            raise gr.Error(reason, print_exception=False)
        yield {
            tally: found.tally(known) if scored.suspects else NONE,
            results: gr.Column(visible=bool(scored.suspects)),
            table: found.rows(known),
            file: gr.DownloadButton(visible=False),
            review: found,
            decisions: known,
            viewer: message(
                "suspects",
                **scored.describe(),
                undecided=[
                    s.patch
                    for s, d in zip(scored.suspects, found.decided(known), strict=True)
                    if not d
                ],
            ),
        }

    def judge(
        found: Review | None, known: Decisions, asked: Any, *, decision: str
    ) -> dict[Any, Any]:
        known, listed = decide(found, known, asked, decision=decision)
        if found is None or not listed:
            return {}
        return {
            decisions: known,
            stored: known,
            tally: found.tally(known),
            table: found.rows(known),
            file: gr.DownloadButton(visible=False),
        }

    def save(found: Review | None, known: Decisions) -> Iterator[Any]:
        if found is not None:
            # Gradio gives out a copy of the file, at a path that only its content tells.
            with tempfile.TemporaryDirectory(prefix="geoseg-labels-") as own:
                path = Path(own) / FILE
                path.write_text(found.csv(known), "utf-8", newline="")
                yield gr.DownloadButton(value=path, visible=True)

    def show(event: gr.SelectData) -> dict[str, Any]:
        number, name = event.row_value[:2]
        return message("jump", index=int(number) - 1, name=str(name))

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    event = start.click(
        run,
        [viewer, stored],
        [tally, results, table, file, review, decisions, cancel, viewer],
        js="(_, stored) => [window.geoseg.request(), stored]",
        show_progress_on=tally,
        concurrency_id="sets",
        api_visibility="private",
    )
    for ended in (event.then, event.failure):  # `then` follows success and cancelling only
        ended(lambda: (gr.Button(visible=False), message("ended")), None, [cancel, viewer], **quick)
    cancel.click(None, None, None, cancels=[event], **quick)
    for name, button in buttons.items():
        button.click(
            partial(judge, decision=name),
            [review, decisions, viewer],
            [decisions, stored, tally, table, file],
            # The viewer goes on at once, so that quick presses meet one label each.
            js="(review, decisions) => [review, decisions, window.geoseg.decide()]",
            trigger_mode="multiple",
            concurrency_id="decisions",
            show_progress="hidden",
            api_visibility="private",
        )
    download.click(
        save, [review, decisions], file, show_progress="hidden", api_visibility="private"
    )
    table.select(show, None, viewer, **quick)


def read_decisions(stored: Any) -> Decisions:
    """Return what the browser has stored, without what is no decision."""
    return {
        mark: {str(name): one for name, one in fields(known).items() if one in DECISIONS}
        for mark, known in fields(stored).items()
    }
