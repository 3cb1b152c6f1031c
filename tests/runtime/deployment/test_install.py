"""`whycam bundle install`: what is installed, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.chaos.small_disk import can_loop, can_mount, ext4, fill, tmpfs
from tests.runtime import tiny_bundle
from tests.runtime.deployment.test_self_test import change
from tests.runtime.deployment.versions import id_at, make, make_key, packed, passed, put, sign, states
from whycam.bundle import Bundle
from whycam.bundle.manifest import SIGNATURE
from whycam.deployment.install import Source, install
from whycam.deployment.owner import act_as_owner
from whycam.deployment.self_test import SelfTest
from whycam.deployment.store import BundleStore
from whycam.errors import BundleError, InputError

Whycam = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "store")


def tree(folder: Path) -> dict[str, bytes]:
    """All files and links below a folder, but the store's locks."""
    found = sorted(folder.rglob("*")) if folder.exists() else []
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in found
        if (path.is_symlink() or path.is_file()) and path.name not in (".lock", ".installing")
    }


def refused(run: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a command refuses."""
    assert run.returncode == 2, run.stdout + run.stderr
    (line,) = [line for line in run.stderr.splitlines() if not line.startswith(("whycam: unpack", "whycam: self-test"))]
    assert "Traceback" not in run.stderr
    return line


@pytest.mark.parametrize("form", ["directory", "archive"])
def test_a_signed_bundle_is_installed_and_is_on_trial(
    form: str, tmp_path: Path, whycam: Whycam, store: BundleStore
) -> None:
    bundle = make(tmp_path / "colours.whycam")
    sign(bundle, make_key(tmp_path / "keys"))
    given = packed(bundle) if form == "archive" else bundle
    run = whycam("bundle", "install", given, "--store", store.root, "--keys", tmp_path / "keys", "--json")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    id = id_at(bundle)
    assert (told["name"], told["version"], told["id"]) == ("colours", "1", id)
    assert (told["signed_by"], told["previous"], told["changed"]) == ("factory", None, True)
    assert [test["passed"] for test in told["tests"]] == [True]
    slot = store.slot("colours")
    assert slot.link.readlink() == Path("versions", id)
    assert states(store) == {id: "on-trial"}
    # What is there is the bundle, byte for byte, and nothing beside it.
    assert tree(slot.link.resolve()) == tree(bundle)
    assert sorted(path.name for path in slot.folder.iterdir()) == ["current", "record.json", "versions"]


def test_the_same_again_changes_nothing(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    bundle = packed(make(tmp_path / "colours.whycam"))
    assert whycam("bundle", "install", bundle, "--store", store.root, "--allow-unsigned").returncode == 0
    before = tree(store.root)
    run = whycam("bundle", "install", bundle, "--store", store.root, "--allow-unsigned", "--json")
    assert run.returncode == 0
    assert json.loads(run.stdout)["changed"] is False
    assert tree(store.root) == before


def test_installing_again_repairs_a_file_that_the_disk_has_damaged(tmp_path: Path, store: BundleStore) -> None:
    source = make(tmp_path / "colours.whycam")
    install(Source(source), store, None)
    (store.slot("colours").link / "head.onnx").write_bytes(b"rot")
    assert install(Source(source), store, None).changed
    assert tree(store.slot("colours").link.resolve()) == tree(source)
    assert states(store) == {id_at(source): "on-trial"}


def test_an_unsigned_bundle_wants_to_be_allowed(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    bundle = make(tmp_path / "colours.whycam")
    make_key(tmp_path / "keys")
    assert "--allow-unsigned" in refused(whycam("bundle", "install", bundle, "--store", store.root))
    line = refused(whycam("bundle", "install", bundle, "--store", store.root, "--keys", tmp_path / "keys"))
    assert "is not signed" in line
    assert not tree(store.root)


def test_a_bundle_of_a_stranger_is_refused(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    bundle = make(tmp_path / "colours.whycam")
    make_key(tmp_path / "keys")
    sign(bundle, make_key(tmp_path / "others", "stranger"))
    line = refused(whycam("bundle", "install", bundle, "--store", store.root, "--keys", tmp_path / "keys"))
    assert "is signed by" in line
    assert not tree(store.root)


def config(folder: Path, bundle: Path, *, min_free: int = 0, **camera: object) -> Path:
    """A configuration with a camera on `bundle`, and so many bytes for alerts."""
    lines = ["device = 'post'", "[[camera]]", "name = 'gate'", "source = 'rtsp://127.0.0.1/'", f"bundle = '{bundle}'"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in camera.items()]
    path = folder / "whycam.toml"
    lines += ["[bundles]", f"directory = '{folder / 'store'}'", "[evidence]", f"min_free_bytes = {min_free}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_it_is_tested_as_the_cameras_will_run_it(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    bundle = make(tmp_path / "colours.whycam")
    settings = config(tmp_path, store.root / "colours" / "current", precision="int8")
    line = refused(whycam("bundle", "install", bundle, "-c", settings, "--allow-unsigned"))
    assert "precision 'int8': bundle 'colours' has fp32" in line
    assert not tree(store.root / "colours")
    settings = config(tmp_path, store.root / "colours" / "current", providers=["cpu"])
    run = whycam("bundle", "install", bundle, "-c", settings, "--allow-unsigned", "--json")
    assert json.loads(run.stdout)["tests"][0]["providers"] == ["CPUExecutionProvider"]


def test_a_candidate_is_tested_as_its_shadow_runs_it_and_promoted_as_the_camera_will(
    tmp_path: Path, whycam: Whycam, store: BundleStore
) -> None:
    first, second = make(tmp_path / "1", "1"), make(tmp_path / "2", "2")
    old, new = put(store, first), id_at(second)
    slot = store.slot("colours")
    settings = config(tmp_path, slot.link)
    shadow = ["[camera.shadow]", f"bundle = '{slot.candidate_link}'", "precision = 'int8'"]
    lines = settings.read_text().splitlines()
    at = lines.index("[bundles]")
    settings.write_text("\n".join([*lines[:at], *shadow, *lines[at:]]) + "\n")
    line = refused(whycam("bundle", "install", second, "--candidate", "-c", settings, "--allow-unsigned"))
    assert "precision 'int8': bundle 'colours' has fp32" in line
    assert states(store) == {old: "current"}

    settings.write_text(settings.read_text().replace("int8", "fp32"))
    assert "no candidate is installed" in whycam("config", "check", settings).stdout
    run = whycam("bundle", "install", second, "--candidate", "-c", settings, "--allow-unsigned")
    assert (run.returncode, "for the shadows that name it" in run.stdout) == (0, True), run.stderr
    assert states(store) == {old: "current", new: "candidate"}
    assert "candidate" in whycam("bundle", "list", "-c", settings).stdout
    assert whycam("config", "check", settings).returncode == 0
    make_key(tmp_path / "keys")
    assert "is not signed" in refused(whycam("bundle", "promote", "-c", settings, "--keys", tmp_path / "keys"))
    assert states(store) == {old: "current", new: "candidate"}
    run = whycam("bundle", "promote", "-c", settings, "--allow-unsigned", "--json")
    told = json.loads(run.stdout)
    assert (told["id"], told["previous"], told["bundle"], len(told["tests"])) == (new, old, str(slot.link), 1)
    assert states(store) == {old: "before", new: "on-trial"}


def test_a_bundle_that_computes_something_else_here_is_refused(
    tmp_path: Path, whycam: Whycam, store: BundleStore
) -> None:
    good = make(tmp_path / "colours.whycam")
    install(Source(good), store, None)
    before = tree(store.root)
    bad = make(tmp_path / "bad", "2")
    change(bad, "step.onnx", lambda weights: weights * np.float32(1.2))
    line = refused(whycam("bundle", "install", bad, "--store", store.root, "--allow-unsigned"))
    assert "the self-test failed" in line
    assert "scores, step" in line
    assert tree(store.root) == before


def test_a_graph_that_takes_the_process_down_is_refused(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    bundle = make(tmp_path / "colours.whycam")
    # What the self-test's process dies of here, a graph can make it die of.
    run = whycam(
        "bundle",
        "install",
        bundle,
        "--store",
        store.root,
        "--allow-unsigned",
        PYTHONPATH=crash(tmp_path),
    )
    line = refused(run)
    assert "the self-test in fp32 was ended by SIGSEGV" in line
    assert str(bundle) in line
    assert not tree(store.root)


def crash(folder: Path) -> str:
    """A folder for $PYTHONPATH with an onnxruntime whose sessions end the process by SIGSEGV."""
    package = folder / "crash" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import os, signal\n"
        "def get_available_providers(): return ['CPUExecutionProvider']\n"
        "class SessionOptions:\n"
        "    def add_session_config_entry(self, *given): pass\n"
        "def InferenceSession(*given, **named): os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    return str(package.parent)


def test_a_graph_that_reads_another_file_is_refused(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    bundle = make(tmp_path / "colours.whycam")
    model = onnx.load(bundle / "head.onnx")
    onnx.save(model, bundle / "head.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    tiny_bundle.seal(bundle)
    assert "head.onnx" in refused(whycam("bundle", "install", bundle, "--store", store.root, "--allow-unsigned"))
    assert not tree(store.root)


@pytest.mark.parametrize("name", ["two words", "Straße", "a" * 65])
def test_a_name_that_is_no_level_of_a_topic_is_refused(name: str, tmp_path: Path, store: BundleStore) -> None:
    with pytest.raises(InputError, match="must be called by 1 to 64 letters"):
        install(Source(make(tmp_path / "colours.whycam", name=name)), store, None)
    assert not tree(store.root)


def test_a_file_that_is_changed_or_missing_is_refused(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    bundle = make(tmp_path / "colours.whycam")
    whole = (bundle / "head.onnx").read_bytes()
    for content in (whole[:-1], whole + b"\0", bytes(len(whole))):
        (bundle / "head.onnx").write_bytes(content)
        assert "head.onnx: damaged" in refused(
            whycam("bundle", "install", bundle, "--store", store.root, "--allow-unsigned")
        )
    (bundle / "head.onnx").unlink()
    line = refused(whycam("bundle", "install", bundle, "--store", store.root, "--allow-unsigned"))
    assert "head.onnx: cannot be read (No such file or directory)" in line
    line = refused(whycam("bundle", "install", tmp_path / "none.tar", "--store", store.root, "--allow-unsigned"))
    assert "none.tar: cannot be read (No such file or directory)" in line
    assert not tree(store.root)


def test_two_installations_at_once(tmp_path: Path, store: BundleStore) -> None:
    source = Source(make(tmp_path / "colours.whycam"))
    with store.installing(), pytest.raises(InputError, match="another installation is at work"):
        install(source, store, None)


def test_the_current_version_and_two_before_it_are_kept(tmp_path: Path, store: BundleStore) -> None:
    ids = [put(store, make(tmp_path / str(number), str(number))) for number in range(5)]
    assert states(store) == {ids[2]: "earlier", ids[3]: "before", ids[4]: "current"}
    kept = sorted(path.name for path in (store.root / "colours" / "versions").iterdir())
    assert kept == sorted(ids[2:])


@pytest.mark.skipif(can_mount() is not None, reason=str(can_mount()))
@pytest.mark.parametrize("leave", [0, 12288, 40960])
def test_a_full_disk_is_one_line_and_changes_nothing(leave: int, tmp_path: Path, whycam: Whycam) -> None:
    first, second = make(tmp_path / "1", "1"), make(tmp_path / "2", "2")
    disk = tmp_path / "disk"
    with tmpfs(disk, "256k"):
        store = BundleStore(disk / "store")
        put(store, first, confirm=False)
        before = tree(store.root)
        given = ("-c", config(disk, store.root / "colours" / "current", min_free=0), "--allow-unsigned")
        filler = fill(disk, leave)
        line = refused(whycam("bundle", "install", second, *given))
        assert "make room" in line
        assert tree(store.root) == before
        assert states(store) == {id_at(first): "on-trial"}
        filler.unlink()
        assert whycam("bundle", "install", second, *given).returncode == 0


@pytest.mark.skipif(can_loop() is not None, reason=str(can_loop()))
@pytest.mark.parametrize("form", ["directory", "archive"])
def test_installing_leaves_room_for_alerts(form: str, tmp_path: Path, whycam: Whycam) -> None:
    bundle = make(tmp_path / "colours.whycam")
    given = packed(bundle) if form == "archive" else bundle
    disk = tmp_path / "disk"
    with ext4(tmp_path / "image", disk, "16M"):
        store = BundleStore(disk / "store")
        keep = 4 << 20
        settings = config(disk, store.root / "colours" / "current", min_free=keep)
        filler = fill(disk, keep + 64 * 1024)
        line = refused(whycam("bundle", "install", given, "-c", settings, "--allow-unsigned"))
        assert "of which 4.0 MiB stay free for alerts (evidence.min_free_bytes); make room" in line
        assert not tree(store.root)
        os.truncate(filler, filler.stat().st_size - (1 << 20))
        run = whycam("bundle", "install", given, "-c", settings, "--allow-unsigned")
        assert run.returncode == 0, run.stderr
        assert shutil.disk_usage(disk).free >= keep
        # Where no configuration says how much: less, and not nothing.
        other = ("--store", disk / "other", "--allow-unsigned")
        assert "of which 32.0 MiB stay free" in refused(whycam("bundle", "install", given, *other))


def test_what_was_current_before_is_told_as_it_was_at_the_switch(tmp_path: Path, store: BundleStore) -> None:
    first, second = (put(store, make(tmp_path / version, version)) for version in ("1", "2"))
    slot = store.slot("colours")

    def going_back(path: Path, precision: str, providers: Sequence[str] | None) -> SelfTest:
        with slot.changing():
            assert slot.go_back("asked for meanwhile").id == second
        return passed(path, precision, providers)

    assert install(Source(make(tmp_path / "3", "3")), store, None, test=going_back).previous == first


@pytest.mark.skipif(can_mount() is not None, reason=str(can_mount()))
@pytest.mark.parametrize("leave", [0, 4096])
def test_a_full_disk_does_not_keep_a_version_in_its_place(leave: int, tmp_path: Path, whycam: Whycam) -> None:
    first, second = make(tmp_path / "1", "1"), make(tmp_path / "2", "2")
    disk = tmp_path / "disk"
    with tmpfs(disk, "256k"):
        store = BundleStore(disk / "store")
        put(store, first)
        put(store, second, confirm=False)
        filler = fill(disk, leave)
        run = whycam("bundle", "rollback", "--store", store.root, "--json")
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["to"] == id_at(first)
        assert states(store)[id_at(first)] == "current"
        filler.unlink()
        assert put(store, second) == id_at(second)
        assert states(store) == {id_at(first): "before", id_at(second): "current"}


NOBODY = 65534


def test_installing_again_with_another_signature_changes_that_alone(
    tmp_path: Path, whycam: Whycam, store: BundleStore
) -> None:
    put(store, make(tmp_path / "1", "1"))
    bundle = make(tmp_path / "2", "2")
    sign(bundle, make_key(tmp_path / "keys", "old"))
    id = put(store, bundle)
    key = make_key(tmp_path / "new-keys", "new")
    sign(bundle, key)
    run = whycam("bundle", "install", bundle, "--store", store.root, "--keys", tmp_path / "new-keys")
    assert run.returncode == 0, run.stderr
    assert "signed by new was installed already" in run.stdout
    found = store.slot("colours").look()
    assert (found.current, found.trial, found.record.versions[id].signed_by) == (id, None, "new")
    assert (store.slot("colours").link / SIGNATURE).read_bytes() == (bundle / SIGNATURE).read_bytes()


@pytest.mark.parametrize(("kind", "name"), [("link", "head.onnx"), ("pipe", "head.onnx"), ("pipe", "manifest.json")])
def test_of_a_directory_plain_files_alone_are_installed(
    kind: str, name: str, tmp_path: Path, whycam: Whycam, store: BundleStore
) -> None:
    bundle = make(tmp_path / "colours.whycam")
    (bundle / name).rename(tmp_path / name)
    if kind == "pipe":
        os.mkfifo(bundle / name)
    else:
        (bundle / name).symlink_to(tmp_path / name)
    run = whycam("bundle", "install", bundle, "--store", store.root, "--allow-unsigned")
    assert ("link" if kind == "link" else "plain file") in refused(run)
    assert not tree(store.root)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_acts_as_the_owner_of_the_store(tmp_path: Path) -> None:
    # Root's alone, as what an administrator has copied there.
    bundle = packed(make(tmp_path / "colours.whycam"))
    bundle.chmod(0o600)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        state = Path(folder, "state")
        state.mkdir()
        os.chown(state, NOBODY, NOBODY)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                source = Source(bundle)
                assert act_as_owner(state / "bundles") is not None
                assert os.getresuid() == (NOBODY,) * 3
                install(source, BundleStore(state / "bundles"), None, test=passed)
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert {path.lstat().st_uid for path in [state, *state.rglob("*")]} == {NOBODY}
        assert act_as_owner(tmp_path) is None, "its owner is root"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_who_may_not_read_the_store_is_told_so(tmp_path: Path, store: BundleStore) -> None:
    put(store, make(tmp_path / "colours.whycam"))
    store.root.chmod(0o700)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setresuid(NOBODY, NOBODY, NOBODY)
            with pytest.raises(InputError, match=r"cannot be read .* look as root"):
                store.look()
            with pytest.raises(BundleError, match="cannot be read"):
                Source(store.slot("colours").link)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("placed", ["link", "folder"])
def test_root_works_nowhere_as_root_that_another_user_has_led_it_to(placed: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        roots, state = Path(folder, "roots"), Path(folder, "state")
        roots.mkdir()
        state.mkdir()
        store = state / "bundles"
        if placed == "link":
            store.symlink_to(roots)
            os.chown(store, NOBODY, NOBODY, follow_symlinks=False)
        else:
            # Root's own, but in a folder whose owner may put a link in its place at any moment.
            store.mkdir()
            os.chown(state, NOBODY, NOBODY)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                act_as_owner(store)
                status = 0 if os.getresuid() == (NOBODY,) * 3 else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0


def test_what_is_listed(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    assert "No bundle is installed" in whycam("bundle", "list", "--store", store.root).stdout
    bundles = [make(tmp_path / str(number), f"2026.{number}") for number in range(3)]
    for bundle in bundles:
        put(store, bundle, confirm=False)
    ids = [id_at(bundle) for bundle in bundles]
    table = whycam("bundle", "list", "--store", store.root).stdout
    assert all(id in table for id in ids)
    assert "on trial" in table
    (told,) = json.loads(whycam("bundle", "list", "--store", store.root, "--json").stdout)
    assert (told["name"], told["current"], told["trial"]["id"]) == ("colours", ids[2], ids[2])
    assert [version["id"] for version in told["versions"]] == ids[::-1]
    assert [version["version"] for version in told["versions"]] == ["2026.2", "2026.1", "2026.0"]


def test_what_is_told_does_nothing_to_a_terminal(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    for version in ("1", "2"):
        put(store, make(tmp_path / version, version))
    slot = store.slot("colours")
    reason = "see [/x] \x1b[31m :smile:"
    with slot.changing():
        slot.go_back(reason)
    table = whycam("bundle", "list", "--store", store.root)
    assert table.returncode == 0, table.stderr
    assert "[/x]" in table.stdout
    assert ":smile:" in table.stdout
    assert "\x1b" not in table.stdout
    waited = whycam("bundle", "wait", "--id", id_at(tmp_path / "2"), "--store", store.root)
    assert waited.stderr.rstrip("\n").isprintable()


def test_what_is_waited_for_may_have_been_followed_by_another(
    tmp_path: Path, whycam: Whycam, store: BundleStore
) -> None:
    first, second = (put(store, make(tmp_path / version, version)) for version in ("1", "2"))
    for id in (first, second):
        run = whycam("bundle", "wait", "--id", id, "--store", store.root)
        assert (run.returncode, run.stdout) == (0, f"colours: {id} has held\n")
    slot = store.slot("colours")
    with slot.changing():
        slot.go_back("it saw nothing")
    run = whycam("bundle", "wait", "colours", "--id", second, "--store", store.root)
    assert (run.returncode, run.stderr) == (1, f"colours: {second} has not held: it saw nothing; current is {first}\n")


def test_a_link_to_an_installed_bundle_is_opened_as_any_other(tmp_path: Path, store: BundleStore) -> None:
    bundle = make(tmp_path / "colours.whycam")
    install(Source(bundle), store, None)
    assert Bundle.open(store.slot("colours").link).manifest == Bundle.open(bundle).manifest
