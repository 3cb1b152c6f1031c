"""The figures of a training run on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whycam.clips import SPLITS
from whycam_export.training.run import Trained


def show(trained: Trained, console: Console) -> None:
    """Print the figures by clip, where the files are and what to do next."""
    sides = [side for side in SPLITS if side in trained.metrics]
    table = Table(title="By clip", title_justify="left")
    table.add_column("")
    for side in sides:
        table.add_column(side, justify="right")
    rows = [("clips", [str(trained.metrics[side]["clips"]) for side in sides])]
    rows.append(("accuracy", [_share(trained.metrics[side]["accuracy"]) for side in sides]))
    rows += [
        (f"recall of {name}", [_share(trained.metrics[side]["recall"][name]) for side in sides])
        for name in trained.classes
    ]
    rows.append(("AUC, anomaly or not", [_share(trained.metrics[side]["anomaly_auc"]) for side in sides]))
    for name, values in rows:
        table.add_row(escape(name), *values)
    console.print(table)
    model = trained.model
    console.print(
        f"Wrote {model}, and beside it {model.stem}.json, .metrics.json, .history.csv/.png, .confusion.png",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    console.print(
        f"Next: whycam export {model} -o {model.with_suffix('.whycam')}", soft_wrap=True, highlight=False, markup=False
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
