"""What `make setup` says where it cannot go on, and what `make test` runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def old_python(tmp_path: Path) -> Path:
    """A program that answers like a Python outside the supported range: the version check exits with 1."""
    program = tmp_path / "python3.9"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return program


def test_an_unsupported_python_is_answered_in_one_line(repository: Path, old_python: Path) -> None:
    done = subprocess.run(
        [repository / "scripts" / "setup"],
        env={**os.environ, "PYTHON": str(old_python)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Python 3.10 to 3.13" in line
    assert str(old_python) in line


def run_install(repository: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """`install_programs` where only the programs in this folder are on the path."""
    script = f"PATH={programs}; source {repository / 'scripts' / 'debian'}; install_programs"
    return subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, timeout=60)


def write_program(folder: Path, name: str, lines: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)


def test_packages_that_may_not_be_installed_are_named_in_one_line(repository: Path, tmp_path: Path) -> None:
    done = run_install(repository, tmp_path)

    assert done.returncode == 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.search(r"apt-get install .*\bffmpeg\b.*\bfaketime\b", line)


def test_a_user_without_rights_installs_nothing(repository: Path, tmp_path: Path) -> None:
    write_program(tmp_path, "id", "echo 1000")
    write_program(tmp_path, "sudo", "exit 1")
    write_program(tmp_path, "apt-get", f"/bin/touch {tmp_path / 'called'}")

    done = run_install(repository, tmp_path)

    assert "without these Debian packages" in done.stderr
    assert not (tmp_path / "called").exists()


def test_missing_packages_are_installed_where_that_is_allowed(repository: Path, tmp_path: Path) -> None:
    write_program(tmp_path, "id", "echo 0")
    write_program(tmp_path, "env", 'shift; exec "$@"')
    write_program(tmp_path, "apt-get", f'echo "$@" >>{tmp_path / "called"}')

    done = run_install(repository, tmp_path)

    assert done.returncode == 0
    assert "without these Debian packages" not in done.stderr
    (call,) = (tmp_path / "called").read_text().splitlines()
    assert call.startswith("install ")
    assert {"ffmpeg", "faketime"} <= set(call.split())


def run_parts(repository: Path, folder: Path, python: str, programs: str = "") -> subprocess.CompletedProcess[str]:
    """`scripts/test` with the shell lines `python` as the environment's Python, and no package to install."""
    for name in ("scripts", ".venv/bin", ".uv/bin", "programs"):
        (folder / name).mkdir(parents=True)
    shutil.copy(repository / "scripts" / "test", folder / "scripts")
    (folder / "scripts" / "debian").write_text("install_programs() { :; }\n")
    write_program(folder / ".venv" / "bin", "python", python)
    write_program(folder / ".uv" / "bin", "uv", "echo no index >&2; exit 1")
    if programs:
        write_program(folder / "programs", "python3.10", programs)
    variables = {**os.environ, "PATH": f"{folder / 'programs'}:{os.environ['PATH']}"}
    script = [folder / "scripts" / "test"]
    return subprocess.run(script, env=variables, capture_output=True, text=True, timeout=60)


def test_the_tests_fail_where_one_part_does(repository: Path, tmp_path: Path) -> None:
    good = run_parts(repository, tmp_path / "good", "exit 0")
    bad = run_parts(repository, tmp_path / "bad", 'case "$*" in *tests/chaos*) echo broken; exit 1 ;; esac')
    killed = run_parts(repository, tmp_path / "killed", 'case "$*" in *tests/chaos*) kill -9 $PPID ;; esac')

    assert good.returncode == 0, good.stdout
    assert bad.returncode == killed.returncode == 1
    assert "ended, status 1: .venv tests/chaos" in bad.stdout
    assert (tmp_path / "bad" / "build" / "tests" / "venv_tests-chaos.log").read_text().startswith("broken\n")


def test_without_the_oldest_python_all_tests_run_and_the_run_fails(repository: Path, tmp_path: Path) -> None:
    newer = 'case "$*" in *sys.version_info*) exit 1 ;; esac'

    done = run_parts(repository, tmp_path, newer, programs='case "$*" in *executable*) echo "$0" ;; esac')

    assert done.returncode == 1
    assert "no index" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("no .venv310, see above: the runtime's tests run on .venv's Python alone")
    ended = [line for line in lines if line.startswith("ended, status 0: .venv ")]
    assert all(any(f"tests/{part}" in line for line in ended) for part in ("runtime", "runtime/mqtt", "chaos"))


def test_each_folder_of_tests_is_in_a_part(repository: Path) -> None:
    parts = re.search(r"^apart=.*?^\)$", (repository / "scripts" / "test").read_text(), re.MULTILINE | re.DOTALL)
    assert parts is not None
    folders = {path.relative_to(repository).parts[1] for path in (repository / "tests").rglob("test_*.py")}

    assert folders <= set(re.findall(r"(?<!=)\btests/(\w+)(?![\w/])", parts[0]))
