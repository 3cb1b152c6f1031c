"""The whole of `whycam calibrate precision`: from footage to a faster bundle and the proof of what that cost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from whycam.bundle import Bundle, check_writable, reopened, revise
from whycam.bundle.manifest import Calibrated
from whycam.detect.providers import choose_providers
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.candidate import Candidate, find_fp16, find_int8, with_step
from whycam_calibration.precision.extractor import CPU_ONLY, Extractor
from whycam_calibration.precision.golden import golden_file, golden_of
from whycam_calibration.precision.ground import Ground, survey
from whycam_calibration.precision.int8 import CPU, PORTABLE
from whycam_calibration.precision.options import Options
from whycam_calibration.precision.page import report_of
from whycam_calibration.precision.progress import Progress
from whycam_calibration.precision.speed import FASTER, Measure, Speed, measure
from whycam_calibration.report import Report
from whycam_calibration.report.stored import report_files


def calibrate_precision(
    path: Path, folder: Path, options: Options, progress: Progress, measure: Measure = measure
) -> Report:
    """Add a precision to the bundle at `path`, made from and judged by the footage in `folder`.

    Raises BundleError, InputError or CalibrationError, and leaves the bundle as it was, where that cannot be done or
    the gate does not hold.
    """
    bundle = Bundle.open(path)
    check_writable(bundle)
    ground = survey(bundle, folder, options.images, options.cache, progress)
    warnings = ground.warnings()
    found = [find_fp16(ground, options)] if options.precision == "fp16" else _forms(ground, options, measure, warnings)
    speeds = _speeds(ground, found, measure)
    warnings += _slow(found[-1].precision, speeds[found[-1].precision])
    report = report_of(ground, options, found, speeds, warnings)
    _write(ground, found, report)
    return report


def _forms(ground: Ground, options: Options, measure: Measure, warnings: list[str]) -> list[Candidate]:
    """The portable form, and the CPU's where that is faster on the CPU."""
    plain = {
        form.precision: Extractor(ground.int8(form, options.method, ()), ground.manifest) for form in (PORTABLE, CPU)
    }
    speeds = measure(plain, ground.chosen.images[0])
    plain.clear()  # each holds the network's weights twice
    found = [find_int8(ground, PORTABLE, options)]
    if speeds[CPU.precision].ratio >= FASTER:
        try:
            found.append(find_int8(ground, CPU, options))
        except CalibrationError as error:
            warnings.append(f"without a form of its own for the CPU: {error}")
        else:
            found[-1] = with_step(ground, found[-1], options, measure, warnings)
    return found


def _speeds(ground: Ground, found: list[Candidate], measure: Measure) -> dict[str, Speed]:
    extractors = {"fp32": Extractor(ground.fp32, ground.manifest)}
    extractors |= {each.precision: Extractor(each.content, ground.manifest) for each in found}
    ground.progress("speed", 0, 1)
    speeds = measure(extractors, ground.chosen.images[0])
    ground.progress("speed", 1, 1)
    return speeds


def _slow(precision: str, speed: Speed) -> list[str]:
    """What its user should know of the speed."""
    if precision == "fp16" and choose_providers(None) == list(CPU_ONLY):
        return ["on a CPU much of FP16 is computed in float32: it is no faster, and the gate sees less than on a GPU"]
    if speed.ratio < 1:
        return [f"on this machine's CPU {precision} is slower than fp32 ({speed.ratio:.2f} times its speed)"]
    return []


def _write(ground: Ground, found: list[Candidate], report: Report) -> None:
    now = reopened(ground.bundle)
    files = report_files(report)
    precisions, calibrated = dict(now.manifest.precisions), dict(now.manifest.calibrated)
    steps = dict(now.manifest.steps)
    drop = set()
    # Of an earlier run, and not made again in this one.
    if report.kind == PORTABLE.precision and CPU.precision in precisions:
        drop |= {precisions.pop(CPU.precision), calibrated.pop(CPU.precision).golden}
    for precision in (PORTABLE.precision, CPU.precision) if report.kind == PORTABLE.precision else ():
        drop |= {steps.pop(precision)} if precision in steps else set()
    for each in found:
        name = f"features.{each.precision}.onnx"
        golden = golden_file(each.precision)
        files[name] = each.content
        files[golden] = golden_of(ground.bundle, ground.model, Extractor(each.content, ground.manifest))
        precisions[each.precision] = name
        if each.step is not None:
            files[f"step.{each.precision}.onnx"] = each.step
            steps[each.precision] = f"step.{each.precision}.onnx"
        calibrated[each.precision] = Calibrated(
            images=len(ground.chosen.images),
            method=each.method,
            higher=each.higher,
            golden=golden,
            **asdict(each.figures),
        )
    revise(now, files, drop=drop - set(files), precisions=precisions, steps=steps, calibrated=calibrated)
