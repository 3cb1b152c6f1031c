"""The command as it is after `pip install`: on a device with the runtime alone, on a workstation with everything."""

from __future__ import annotations

from pathlib import Path

from tests.house.conftest import Environment
from tests.runtime import tiny_bundle

HEAVY = ("tensorflow", "keras", "onnx", "onnxruntime", "cv2", "matplotlib")

LOADED = f"print('loaded:', *(name for name in {HEAVY} if name in sys.modules))"


def test_a_device_lists_only_what_a_device_can_do(device: Environment) -> None:
    subcommands = listed(device)

    assert {"score", "explain"} <= subcommands
    assert not subcommands & {"train", "export", "evaluate", "demo"}


def test_a_workstation_lists_training_and_export_too(workstation: Environment) -> None:
    assert {"score", "explain", "train", "export", "evaluate", "demo"} <= listed(workstation)


def test_importing_whycam_loads_nothing_heavy(workstation: Environment) -> None:
    done = workstation.run("python", "-c", f"import sys, whycam; {LOADED}")

    assert done.stdout.splitlines() == ["loaded:"], done.stderr


def test_help_loads_nothing_heavy_however_much_is_installed(workstation: Environment) -> None:
    script = f"""
import sys
from whycam.commands import main
sys.argv = ["whycam", "--help"]
try:
    main()
finally:
    {LOADED}
"""
    done = workstation.run("python", "-c", script)

    assert "export" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded:", done.stderr


def test_scoring_without_onnx_runtime_names_the_install_line(device: Environment, tmp_path: Path) -> None:
    bundle = tiny_bundle.build(tmp_path / "colours.whycam")

    done = device.run("whycam", "score", str(tmp_path / "walk.mp4"), "-b", str(bundle))

    assert done.returncode == 2
    assert 'pip install "whycam[cpu]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def listed(environment: Environment) -> set[str]:
    """The subcommands that `whycam --help` shows."""
    done = environment.run("whycam", "--help")
    assert done.returncode == 0, done.stderr
    _, _, commands = done.stdout.partition("Commands")
    return {line.strip("│ ").split(" ")[0] for line in commands.splitlines()[1:] if line.startswith("│")}
