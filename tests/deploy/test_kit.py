"""The archive that `make kit` makes: what is in it, and that it is the same each time."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.kit.platforms import PLATFORMS
from tests.deploy.conftest import PLATFORM, make_kit, unpack


def test_the_same_sources_give_the_same_bytes(kit_archive: Path, repository: Path, tmp_path: Path) -> None:
    done = make_kit(repository, PLATFORM, tmp_path)

    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / kit_archive.name) == digest(kit_archive)


@pytest.mark.parametrize(
    ("out", "time", "told"),
    [
        ("/proc/nowhere", "315532800", r"kit: .*: '/proc/nowhere'\n"),
        ("kit", "today", r"kit: SOURCE_DATE_EPOCH: 'today' is no time .*\n"),
        ("kit", "0", r"kit: SOURCE_DATE_EPOCH: '0' is no time .*\n"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(
    repository: Path, tmp_path: Path, out: str, time: str, told: str
) -> None:
    done = make_kit(repository, PLATFORM, tmp_path / out, SOURCE_DATE_EPOCH=time)

    assert done.returncode == 2
    assert re.fullmatch(told, done.stderr), done.stderr


def test_all_belongs_to_root_and_is_of_one_time(kit_archive: Path) -> None:
    with tarfile.open(kit_archive) as tar:
        entries = tar.getmembers()

    assert [entry.name for entry in entries] == sorted((entry.name for entry in entries), key=lambda n: Path(n).parts)
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries} == {(0, 0, 315532800)}
    assert {entry.type for entry in entries} <= {tarfile.REGTYPE, tarfile.DIRTYPE}
    assert {Path(entry.name).name for entry in entries if entry.isfile() and entry.mode & 0o111} == {
        "install.sh",
        "uninstall.sh",
    }


def test_the_sums_name_every_file(kit: Path) -> None:
    sums = dict(reversed(line.split("  ")) for line in (kit / "SHA256SUMS").read_text().splitlines())
    files = {str(path.relative_to(kit)): path for path in kit.rglob("*") if path.is_file()}
    del files["SHA256SUMS"]

    assert sums == {name: digest(path) for name, path in files.items()}


def test_the_requirements_pin_each_wheel(kit: Path) -> None:
    pinned = set(re.findall(r"--hash=sha256:(\w+)", (kit / "requirements.txt").read_text()))

    assert pinned == {digest(path) for path in kit.glob("wheels/*")}


def test_the_wheels_bring_whycam_and_what_runs_it(kit: Path) -> None:
    names = {path.name.split("-")[0] for path in kit.glob("wheels/*.whl")}

    assert {"whycam", "numpy", "onnxruntime", "opencv_python_headless", "paho_mqtt", "pydantic", "pip"} <= names
    assert not names & {"tensorflow", "keras", "onnx", "whycam_export"}


def test_the_sbom_is_valid_and_tells_each_wheel_with_its_hash_and_licence(kit: Path) -> None:
    text = (kit / "sbom.cdx.json").read_text()
    components = json.loads(text)["components"]

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert {one["hashes"][0]["content"] for one in components} == {digest(path) for path in kit.glob("wheels/*")}
    assert all(one["purl"].startswith(f"pkg:pypi/{one['name']}@{one['version']}") for one in components)
    assert [one["name"] for one in components if not one.get("licenses")] == []
    assert {one["name"]: one["licenses"] for one in components}["numpy"] != []


def test_the_configuration_of_the_kit_refuses_unsigned_bundles(kit: Path, tmp_path: Path) -> None:
    from whycam.config.file import load_config

    config = load_config(kit / "whycam.toml")

    assert not config.bundles.allow_unsigned
    assert config.bundles.trust_directory == Path("/etc/whycam/trusted-keys")
    assert config.broker.password_credential == "broker-password"


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_kit_has_the_versions_of_the_lock(name: str, repository: Path) -> None:
    everything = (repository / "requirements.lock").read_text()
    # JetPack's OpenCV is built for NumPy 1.
    apart = {"numpy", "contourpy", "matplotlib"} if name.startswith("jetpack") else set()

    for line in PLATFORMS[name].lock.read_text().splitlines():
        pinned, *hashes = line.split(" --hash=")
        if pinned.split("==")[0] not in apart:
            assert re.search(rf"^{re.escape(pinned)} ", everything, flags=re.MULTILINE), pinned
            assert [one for one in hashes if one not in everything] == []


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name.startswith("jetpack")])
def test_a_kit_for_jetpack_leaves_its_opencv_alone(name: str) -> None:
    pinned = PLATFORMS[name].lock.read_text()

    assert "opencv" not in pinned
    assert re.search(r"^numpy==1\.", pinned, flags=re.MULTILINE)


def test_another_platform_is_refused_in_one_line(repository: Path, tmp_path: Path) -> None:
    done = make_kit(repository, "toaster", tmp_path)

    assert done.returncode == 2
    assert done.stderr == (
        "kit: no kit for 'toaster': PLATFORM is one of jetpack6, jetpack7, debian-arm64, debian-amd64\n"
    )


def test_a_wheel_that_is_nowhere_is_named_in_one_line(repository: Path, tmp_path: Path) -> None:
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}

    done = make_kit(repository, PLATFORM, tmp_path / "out", **nowhere)

    assert done.returncode == 2
    assert re.fullmatch(
        r"kit: the wheels for debian-amd64 cannot be fetched: No matching distribution found for \S+==\S+\n",
        done.stderr,
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_a_given_onnx_runtime_takes_the_place_of_the_locks(kit_archive: Path, repository: Path, tmp_path: Path) -> None:
    given = write_onnxruntime(tmp_path, "cp310", "numpy>=1.21.6")

    done = make_kit(repository, "jetpack6", tmp_path / "out", "--onnxruntime", given)

    assert done.returncode == 0, done.stderr
    assert "CPU" not in done.stdout
    made = unpack(next((tmp_path / "out").glob("*.tar.gz")), tmp_path / "kit")
    assert [path.name for path in made.glob("wheels/onnxruntime*")] == [given.name]
    assert "kit_onnxruntime='onnxruntime-gpu 1.23.0'" in (made / "kit.env").read_text()
    assert (made / "system" / "whycam.service.d" / "jetson.conf").exists()


@pytest.mark.parametrize(
    ("python", "wants", "told"),
    [
        ("cp312", "numpy", "{wheel}: not for jetpack6, which wants cp310 on linux_aarch64"),
        ("cp310", "numpy>=2", "the wheels for jetpack6 do not go together: .*numpy.*"),
    ],
)
def test_a_given_onnx_runtime_must_go_with_the_platform(
    kit_archive: Path, repository: Path, tmp_path: Path, python: str, wants: str, told: str
) -> None:
    given = write_onnxruntime(tmp_path, python, wants)

    done = make_kit(repository, "jetpack6", tmp_path / "out", "--onnxruntime", given)

    assert done.returncode == 2
    assert re.fullmatch(f"kit: {told.format(wheel=given)}\n", done.stderr)


def write_onnxruntime(folder: Path, python: str, wants: str) -> Path:
    """A wheel with nothing but the metadata of NVIDIA's."""
    wheel = folder / f"onnxruntime_gpu-1.23.0-{python}-{python}-linux_aarch64.whl"
    info = "onnxruntime_gpu-1.23.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.23.0\nRequires-Dist: {wants}\n",
        )
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {python}-{python}-linux_aarch64\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
