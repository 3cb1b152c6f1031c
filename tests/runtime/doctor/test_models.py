"""Bundles and models: whole, signed, right here, fast enough."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.runtime import tiny_bundle
from tests.runtime.doctor.conftest import Installation, checked, only
from whycam.bundle import Manifest, write_manifest
from whycam.bundle.signature import sign_manifest
from whycam.config.models import Camera
from whycam.doctor import bundles, models
from whycam.doctor.report import Finding, Status
from whycam.doctor.service_state import Running

Configured = Callable[..., Installation]


def found(installation: Installation) -> dict[tuple[str | None, str], Finding]:
    findings = [checked(one) for one in models.models(installation)]
    return {(one.camera, one.check.partition(".")[2]): one for one in findings}


def test_a_whole_bundle_computes_what_it_should_and_is_fast_enough(configured: Configured) -> None:
    installation = configured(cameras=[{"name": "gate"}, {"name": "yard"}])

    assert only(bundles.files(installation)).found == "colours 1, fp32: whole"
    told = found(installation)

    assert told["gate and yard", "self_test"].status is Status.OK
    assert told["gate and yard", "self_test"].facts["passed"]
    for name in ("gate", "yard"):
        assert told[name, "speed"].status is Status.OK
        assert told[name, "speed"].facts["fps"] == told[name, "speed"].facts["wanted"] == 10


def test_a_candidate_is_tested_and_takes_no_time_from_cameras(configured: Configured, headed_bundle: Path) -> None:
    installation = configured(cameras=[{"name": "gate", "shadow": {"bundle": headed_bundle}}])

    told = found(installation)

    assert [one.camera for one in bundles.files(installation)] == ["gate", "gate's shadow"]
    assert told["gate's shadow", "self_test"].status is Status.OK
    assert [camera for camera, check in told if check == "speed"] == ["gate"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [("features.onnx", "features.onnx: damaged"), ("manifest.json", "invalid"), ("head.onnx", "head.onnx: damaged")],
)
def test_a_damaged_bundle_is_told_and_not_run(configured: Configured, bundle: Path, damage: str, told: str) -> None:
    (bundle / damage).write_bytes(b"nothing")

    finding = only(bundles.files(configured(cameras=[{"bundle": bundle}])))

    assert finding.status is Status.FAILURE
    assert told in finding.found.lower()
    assert "whycam export" in str(finding.fix)


def test_what_is_missing_in_the_store_is_installed_and_not_copied(configured: Configured, tmp_path: Path) -> None:
    link = tmp_path / "bundles" / "fight" / "current"

    finding = only(bundles.files(configured(cameras=[{"bundle": link}])))

    assert "no such bundle" in finding.found
    assert finding.fix == "sudo whycam bundle install fight.whycam.tar"


def test_an_installed_bundle_that_nobody_has_signed_is_packed_with_a_key_and_installed(
    configured: Configured, tmp_path: Path
) -> None:
    (keys := tmp_path / "keys").mkdir()
    shutil.copytree(tiny_bundle.build(tmp_path / "built"), link := tmp_path / "bundles" / "fight" / "current")
    settings = {"trust_directory": keys}

    finding = only(bundles.signatures(configured(cameras=[{"bundle": link}], bundles=settings)))

    assert str(finding.fix).splitlines() == [
        "whycam bundle pack fight.whycam --key NAME.key    # where the key is; then here:",
        "sudo whycam bundle install fight.whycam.tar",
    ]


def test_a_precision_that_is_not_there(configured: Configured) -> None:
    finding = only(bundles.files(configured(cameras=[{"precision": "int8"}])))

    assert finding.fix == 'precision = "fp32"    # in [[camera]]; there are fp32'
    assert found(configured(cameras=[{"precision": "int8"}])) == {}


def golden_with(bundle: Path, **changes: object) -> None:
    with np.load(io.BytesIO(tiny_bundle.golden())) as golden:
        arrays = {**golden, **changes}
    np.savez(bundle / "golden.npz", **arrays)
    tiny_bundle.seal(bundle)


def test_a_bundle_that_computes_something_else_here_is_a_failure(configured: Configured, bundle: Path) -> None:
    golden_with(bundle, scores=np.array([0.9, 0.05, 0.05], np.float32))

    told = found(configured(cameras=[{"bundle": bundle}]))["gate", "self_test"]

    assert told.status is Status.FAILURE
    assert re.search(
        r"computes something else than where it was made: scores, head: 0\.\d+ from golden.npz", told.found
    )


def test_a_bundle_without_a_golden_window_is_a_warning_and_timed(configured: Configured, bundle: Path) -> None:
    (bundle / "golden.npz").unlink()
    manifest = Manifest.model_validate_json((bundle / "manifest.json").read_text())
    files = {name: entry for name, entry in manifest.files.items() if name != "golden.npz"}
    write_manifest(bundle, manifest.model_copy(update={"files": files}))

    told = found(configured(cameras=[{"bundle": bundle}]))

    assert told["gate", "self_test"].status is Status.WARNING
    assert told["gate", "speed"].status is Status.OK


def test_a_graph_that_does_not_run_is_a_failure(configured: Configured, bundle: Path) -> None:
    (bundle / "features.onnx").write_bytes(b"no graph")
    tiny_bundle.seal(bundle)

    told = found(configured(cameras=[{"bundle": bundle}]))

    assert told["gate", "self_test"].status is Status.FAILURE
    assert "features.onnx: cannot be read as ONNX" in told["gate", "self_test"].found
    assert "whycam export" in str(told["gate", "self_test"].fix)


@pytest.mark.parametrize(("share", "status"), [(0.5, Status.OK), (0.9, Status.WARNING), (2.5, Status.FAILURE)])
def test_all_cameras_together_must_leave_time(share: float, status: Status) -> None:
    camera = Camera(name="gate", source="film.mp4", bundle=Path("fight.whycam"))

    finding = checked(models.judge_speed(camera, 10, share, ["CPUExecutionProvider"]))

    assert finding.status is status
    assert finding.facts["fps"] == (4.0 if status is Status.FAILURE else 10.0)
    assert (status is Status.OK) == (finding.fix is None)


@pytest.mark.parametrize(
    ("asked", "ran", "status", "told"),
    [
        (
            ("tensorrt", "cpu"),
            "CUDAExecutionProvider",
            Status.WARNING,
            "fp32 on CUDA computes .*, though tensorrt is asked",
        ),
        (
            ("cuda", "cpu"),
            "CPUExecutionProvider",
            Status.WARNING,
            "fp32 on CPU computes .*, though cuda is asked for first",
        ),
        (
            ("TensorRT",),
            "TensorrtExecutionProvider",
            Status.OK,
            "fp32 on TensorRT computes what it did where it was made$",
        ),
        (None, "CPUExecutionProvider", Status.OK, "fp32 on CPU computes what it did where it was made$"),
        ((), "CPUExecutionProvider", Status.OK, "fp32 on CPU computes what it did where it was made$"),
    ],
)
def test_what_runs_elsewhere_than_asked_is_a_warning(
    asked: tuple[str, ...] | None, ran: str, status: Status, told: str
) -> None:
    test = {"precision": "fp32", "passed": True, "providers": [ran]}
    answer = {"problem": None, "test": test, "told": ""}
    finding = models.judge_self_test((Path("fight.whycam"), "fp32", asked), "door", answer)
    assert finding.status == status
    assert re.search(told, finding.found)
    assert (finding.fix is None) == (status == Status.OK)


def test_beside_a_running_service_a_model_is_not_timed(configured: Configured) -> None:
    installation = configured()
    installation.once("running", lambda: Running(None, 1))

    told = found(installation)

    assert told["gate", "self_test"].status is Status.OK
    assert told[None, "speed"].status is Status.SKIPPED


def test_beside_a_running_service_memory_must_do_for_a_second_copy(configured: Configured, tmp_path: Path) -> None:
    installation = configured()
    installation.once("running", lambda: Running(None, 1))
    (tmp_path / "root" / "proc").mkdir(parents=True)
    (tmp_path / "root" / "proc" / "meminfo").write_text("MemAvailable:       8 kB\n")
    installation.machine = type(installation.machine)(tmp_path / "root")

    told = found(installation)["gate", "self_test"]

    assert told.status is Status.SKIPPED
    assert "too little memory" in told.found


def trusting(configured: Configured, bundle: Path, keys: Path, **options: object) -> list[Finding]:
    installation = configured(cameras=[{"bundle": bundle}], bundles={"trust_directory": keys, **options})
    return [checked(one) for one in bundles.signatures(installation)]


def test_signatures_are_told_apart(configured: Configured, bundle: Path, tmp_path: Path) -> None:
    keys, mine, other = tmp_path / "keys", Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    manifest = (bundle / "manifest.json").read_bytes()
    assert "no such folder" in trusting(configured, bundle, keys)[0].found
    keys.mkdir()

    (unsigned,) = trusting(configured, bundle, keys)
    assert "not signed" in unsigned.found
    assert "holds no key" in unsigned.found
    (allowed,) = trusting(configured, bundle, keys, allow_unsigned=True)
    assert allowed.status is Status.WARNING

    pem = mine.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (keys / "release.pub").write_bytes(pem)
    (bundle / "manifest.sig").write_bytes(sign_manifest(manifest, other).to_bytes())
    (untrusted,) = trusting(configured, bundle, keys)
    assert untrusted.status is Status.FAILURE
    assert f"sudo cp NAME.pub {keys}" in str(untrusted.fix)

    (bundle / "manifest.sig").write_bytes(sign_manifest(manifest, mine).to_bytes())
    (well,) = trusting(configured, bundle, keys)
    assert (well.status, well.facts["key"]) == (Status.OK, "release")

    (bundle / "manifest.json").write_bytes(manifest + b" ")
    (broken,) = trusting(configured, bundle, keys)
    assert broken.status is Status.FAILURE
    assert "whycam bundle sign" in str(broken.fix)


def test_where_no_signatures_are_asked_for_none_are_told_of(configured: Configured) -> None:
    assert list(bundles.signatures(configured())) == []
