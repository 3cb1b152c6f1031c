"""The whole road over generated scenes: film, train, export, watch, explain, measure, go live, and a page of it all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from whycam.errors import InputError
from whycam_export.demo.footage import Shoot, Split, film, plan, write_manifest
from whycam_export.demo.live import MISSING, LiveError, Received, mosquitto, watch_live
from whycam_export.demo.report import Report, measure
from whycam_export.demo.scenes import CLASSES, NORMAL
from whycam_export.demo.watch import Watched, watch

BACKBONE = Path(__file__).with_name("backbone.npz")
FRAME_INTERVAL = 0.1

MARK = ".whycam-demo"
MADE = ("scenes", "model", "demo.whycam", "clips", "live", "figures.json", "index.html")

# Each split films scenes of its own: the seeds of no two of them, nor those of the backbone's, ever meet.
_SEEDS: dict[Split, int] = {"train": 0, "validation": 100_000, "test": 200_000}
_SEED_ROOM = 1_000
MOST_SEEDS = 90


@dataclass(frozen=True)
class Plan:
    """How large a demo is; the defaults take less than five minutes on two cores."""

    output: Path
    seed: int = 0
    train_scenes: int = 14
    """Scenes of each class to train on."""
    validation_scenes: int = 5
    test_scenes: int = 7
    frames: int = 10
    """T: frames of a window."""
    epochs: int = 40

    def __post_init__(self) -> None:
        if not 0 <= self.seed < MOST_SEEDS:
            raise InputError(f"--seed {self.seed}: must be 0 to {MOST_SEEDS - 1}")

    def shoots(self, split: Split) -> list[Shoot]:
        """The scenes of a split."""
        scenes = {"train": self.train_scenes, "validation": self.validation_scenes, "test": self.test_scenes}[split]
        seed = _SEEDS[split] + self.seed * _SEED_ROOM
        if split == "test":
            return plan(split, seed, scenes, duration=6.0, onset=(2.2, 3.2))
        return plan(split, seed, scenes, duration=5.0, onset=(1.8, 2.4))


@dataclass
class _Clock:
    """How long each stage took, in seconds."""

    console: Console
    stages: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.console.print(f"[bold]{name}[/bold]", highlight=False)
        began = time.monotonic()
        yield
        self.stages.append((name, time.monotonic() - began))


def run(chosen: Plan, console: Console) -> Report:
    """Run the demo and leave its folder: `scenes/`, `model/`, `demo.whycam/`, `clips/`, `live/`, `figures.json` and
    `index.html`.

    Whether the figures are good enough is the caller's to say: see `Report.shortfalls`.
    """
    from whycam_export.demo.page import write_page
    from whycam_export.quiet_tensorflow import import_tensorflow

    folder = chosen.output
    clear(folder)
    clock = _Clock(console)
    with clock.stage("Filming scenes"):
        learn, test = folder / "scenes" / "learn", folder / "scenes" / "test"
        learning = chosen.shoots("train") + chosen.shoots("validation")
        _film(learning, learn, FRAME_INTERVAL * (chosen.frames // 2 - 1), console)
        _film(chosen.shoots("test"), test, None, console)
    with clock.stage("Training the head on the backbone's features"):
        import_tensorflow()
        model = folder / "model" / "demo.keras"
        _train(chosen, learn, model, console)
    with clock.stage("Exporting the bundle"):
        bundle = folder / "demo.whycam"
        _export(model, bundle, min(learn.glob("*.mp4")), console)
    with clock.stage("Watching unseen scenes"):
        watched = _watch_all(bundle, test, folder / "clips", console)
    report = measure(watched, bundle, clock.stages)
    try:
        with clock.stage("Watching one of them live, over MQTT"):
            report = replace(report, live=_live(report, bundle, folder / "live", console))
    except LiveError as error:
        # What was measured before is worth its page all the same.
        report = replace(report, live=str(error))
    report = replace(report, stages=tuple(clock.stages))
    report.write(folder / "figures.json")
    write_page(report, folder)
    return report


def clear(folder: Path) -> None:
    """Make `folder` an empty demo folder, removing what an earlier demo left in it.

    Raises InputError where it holds anything else: only a folder with the demo's own mark is cleared.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / MARK).is_file():
            raise InputError(f"{folder}: not empty, and not the folder of a demo; choose another with -o")
        (folder / MARK).write_text(
            "This folder belongs to `whycam demo`, which replaces what it made.\n", encoding="utf-8"
        )
        for name in MADE:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as the demo's folder ({error.strerror}); choose another") from error


def _film(shoots: list[Shoot], folder: Path, lead: float | None, console: Console) -> None:
    with _bar(console) as bar:
        task = bar.add_task(f"{folder.name} scenes", total=len(shoots))
        for _ in film(shoots, folder, lead, workers=min(4, os.cpu_count() or 1)):
            bar.advance(task)
    write_manifest(folder, shoots)


def _train(chosen: Plan, clips: Path, model: Path, console: Console) -> None:
    from whycam_export.training.fit import Recipe
    from whycam_export.training.network import Architecture
    from whycam_export.training.options import Options
    from whycam_export.training.run import train

    model.parent.mkdir()
    # A fresh cache: a demo leaves nothing outside its folder.
    with tempfile.TemporaryDirectory() as cache:
        options = Options(
            clips=clips,
            output=model,
            architecture=Architecture(frames=chosen.frames, units=64, dense=(64,), dropout=0.3, l2=1e-3, width=0.25),
            frame_interval=FRAME_INTERVAL,
            backbone_weights=str(BACKBONE),
            augment=1,
            classes=CLASSES,
            normal=NORMAL,
            recipe=Recipe(epochs=chosen.epochs, batch=32, patience=8),
            seed=chosen.seed,
            cache=Path(cache),
        )
        train(options, console)


def _export(model: Path, bundle: Path, sample: Path, console: Console) -> None:
    from whycam_export.convert import ExportOptions, export_bundle

    options = ExportOptions(sample=sample)
    with console.status("") as status:
        export_bundle(model, bundle, options, stage=lambda text: status.update(f"  {text}"))


def _watch_all(bundle: Path, clips: Path, folder: Path, console: Console) -> list[Watched]:
    fast = shutil.which("ffmpeg") is not None
    if not fast:
        console.print("ffmpeg is not installed: only the first clip of each class gets an annotated video")
    watched: list[Watched] = []
    paths = sorted(clips.glob("*.mp4"))
    with _bar(console) as bar:
        for path in bar.track(paths, description="clips"):
            watched.append(watch(bundle, path, folder / path.stem, filmed=fast or len(watched) < len(CLASSES)))
    return watched


def _live(report: Report, bundle: Path, folder: Path, console: Console) -> Received | None:
    if mosquitto() is None:
        console.print(f"  left out: {MISSING}")
        return None
    rightly = [clip.watched for clip in report.clips if clip.alert is not None and not clip.false_alert]
    if not rightly:
        raise LiveError("no clip was rightly alerted of, so none can be shown live")
    clip = rightly[0]
    received = watch_live(bundle, clip.clip, clip.truth.label, folder, console)
    console.print(f"  received {received.delay:.2f} s after the score crossed the threshold")
    return received


def _bar(console: Console) -> Progress:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
