"""From a TOML file to a configuration, or to what is wrong with it and where."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from whycam.config.example import _TABLES, example
from whycam.config.file import keys_of, load_config, table_in
from whycam.config.lines import line_of, lines_of
from whycam.config.models import Config
from whycam.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CAMERA = '[[camera]]\nname = "gate"\nsource = "gate.mp4"\nbundle = "fight.whycam"\n'
GOOD = f'device = "post"\n{CAMERA}'


def load(folder: Path, text: str | bytes) -> Config:
    """The configuration that says `text`."""
    path = folder / "whycam.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path)


def problems(folder: Path, text: str | bytes) -> list[str]:
    """What is wrong with `text`, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    start = f"{folder / 'whycam.toml'}:"
    assert all(line.startswith(start) for line in caught.value.problems)
    return [line.removeprefix(start) for line in caught.value.problems]


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        'state_directory = "state"\n' + GOOD + 'credentials_file = "/etc/gate"\n'
        '[[camera]]\nname = "yard"\nsource = "images:yard?fps=5"\nbundle = "fight.whycam"\n'
        '[[camera]]\nname = "door"\nsource = "rtsp://door/1"\nbundle = "fight.whycam"\n',
    )
    gate, yard, door = config.cameras
    assert config.state == tmp_path / "state"
    assert (gate.bundle, gate.source) == (tmp_path / "fight.whycam", str(tmp_path / "gate.mp4"))
    assert gate.credentials_file == Path("/etc/gate")
    assert yard.source == f"images:{tmp_path / 'yard'}?fps=5"
    assert door.source == "rtsp://door/1"


def test_all_that_is_wrong_is_told_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = (
        'device = "a b"\n[broker]\nport = 0\nhots = "x"\n'
        + CAMERA
        + 'threshold = 2\n[camera.alert]\nminimum_second = 1\n[[camera.zone]]\nname = "z"\npolygon = [[0, 0]]\n'
        + '[[camera]]\nname = "yard"\nbundle = "b"\n'
    )
    assert problems(tmp_path, text) == [
        "1: device = 'a b': should be its name, a level of all its topics: letters, digits, '_' and '-'",
        "3: broker: port = 0: should be greater than or equal to 1",
        "4: broker: unknown key 'hots'; did you mean 'host'?",
        "9: camera 'gate': threshold = 2: should be less than or equal to 1",
        "11: camera 'gate', alert: unknown key 'minimum_second'; did you mean 'minimum_seconds'?",
        "14: camera 'gate', zone 'z': polygon = [[0, 0]]: has 1, should have at least 3",
        "15: camera 'yard': 'source' is missing",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('device = "a"\n', "1: 'camera' is missing"),
        (f"{GOOD}[[camera]]\n", "6: camera 2: 'name' is missing"),
        (GOOD + CAMERA, "1: two cameras are called 'gate': each needs a name of its own"),
        (f'{GOOD}repeat = "yes please"\n', "6: camera 'gate': repeat = 'yes please': should be a valid boolean"),
        (f"{GOOD}[motion]\n", "6: unknown key 'motion'; "),
        (f"{GOOD}[camera.alert]\nclear_ratio = nan\n", "7: camera 'gate', alert: clear_ratio = nan: should be"),
        (f'{GOOD}[broker]\nroot = "a/#"\n', "7: broker: root = 'a/#': should be the first level of all topics"),
        (f"{GOOD}[broker]\npassword_file = 'p'\n", "6: broker: a password needs a username"),
        ('device = "a\n', "1: not TOML: illegal character"),
        ("device = 'a'\ndevice = 'b'\n", "2: not TOML: cannot overwrite a value"),
        (b"device = 'a'\n# \xff\n", "2: not UTF-8"),
        ("x = " + "[" * 5000, " nested too deep"),
    ],
)
def test_what_is_wrong_has_its_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    (line, *_) = problems(tmp_path, text)
    assert line.startswith(told), line


@pytest.mark.parametrize(
    "line", ['source = "rtsp://me:s3cret@camera/1"', 'password = "s3cret"', 'credentials_file = ["s3cret"]']
)
def test_no_secret_is_repeated(tmp_path: Path, line: str) -> None:
    text = GOOD.replace('source = "gate.mp4"', line) if line.startswith("source") else f"{GOOD}{line}\n"
    told = "\n".join(problems(tmp_path, text))
    assert "credentials_file" in told
    assert line.startswith("credentials_file") or "s3cret" not in told


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=re.escape(f"{path}: cannot be read")):
            load_config(path)


def test_lines_are_found_whatever_stands_between() -> None:
    text = (
        '# comment\n"device" = """\n[[camera]]\n"""\nbroker.port = 1\n[outbox]# c\n'
        'max_bytes = 3\r\n[[camera]]\n  name = "[camera.x]"\nzone = [\n { name = "a" },\n { name = "b" } ]\n'
        '[camera.alert]\n"merge_seconds" = 1\n[[camera]]\nalert.merge_seconds = 2\n[[camera.zone]]\n[[camera.zone]]\n'
    )
    assert tomllib.loads(text)
    lines = lines_of(text)
    assert [
        line_of(place, lines)
        for place in (
            ("device",),
            ("broker", "port"),
            ("outbox", "max_bytes"),
            ("camera", 0),
            ("camera", 0, "zone", 1, "name"),
            ("camera", 0, "alert", "merge_seconds"),
            ("camera", 1, "alert", "merge_seconds"),
            ("camera", 1, "zone", 1),
            ("camera", 1, "zone", 1, "name"),
            ("nowhere",),
        )
    ] == [2, 5, 7, 8, 10, 14, 16, 18, 18, 1]


def tables() -> list[tuple[str, type[BaseModel]]]:
    """Every table by its header, the file itself first."""
    return [("", Config), *_TABLES]


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (header, key)
        for header, table in tables()
        for key, field in keys_of(table).items()
        if table_in(field.annotation) is None and len(key) > 3
    ],
)
def test_a_key_with_a_letter_too_few_is_refused_with_the_right_one(tmp_path: Path, header: str, key: str) -> None:
    wrong = f"{key[:2]}{key[3:]} = 1"
    brackets = ("[[", "]]") if header in ("camera", "camera.zone") else ("[", "]")
    lines = [f"{brackets[0]}{header}{brackets[1]}", wrong] if header else [wrong]
    text = "\n".join((*lines, *GOOD.splitlines()) if not header else (*GOOD.splitlines(), *lines))
    number = 1 if not header else 7
    assert any(
        re.fullmatch(rf"{number}: .*unknown key '{key[:2]}{key[3:]}'; did you mean '{key}'\?", line)
        for line in problems(tmp_path, text)
    ), problems(tmp_path, text)


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SETTINGS
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_at_all_is_a_configuration_or_is_refused(tmp_path: Path, data: bytes) -> None:
    problems(tmp_path, data)


@SETTINGS
@given(st.data())
def test_a_garbled_example_is_a_configuration_or_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    text = re.sub(r"(?m)^# (\S+ = )", r"\1", example()).encode()
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(begin + 40, len(text))))
    garbled = text[:begin] + data.draw(st.binary(max_size=10)) + text[end:]
    try:
        load(tmp_path, garbled)
    except ConfigError as error:
        assert all("\n" not in line for line in error.problems)


def test_a_shadow_is_the_camera_with_another_bundle(tmp_path: Path) -> None:
    path = tmp_path / "whycam.toml"
    camera = 'device = "gate"\n[[camera]]\nname = "door"\nsource = "a.mp4"\nbundle = "old"\n'
    camera += 'precision = "int8"\nthreshold = 0.9\n'
    path.write_text(camera)
    assert load_config(path).cameras[0].candidate is None
    path.write_text(f'{camera}[camera.shadow]\nbundle = "new"\n')
    candidate = load_config(path).cameras[0].candidate
    assert candidate is not None
    assert (candidate.bundle, candidate.precision, candidate.threshold) == (tmp_path / "new", "int8", None)
    assert (candidate.source, candidate.shadow) == (str(tmp_path / "a.mp4"), None)
    for wrong, said in (("within = 1", "did you mean 'within_seconds'"), ("within_seconds = -1", "within_seconds")):
        path.write_text(f'{camera}[camera.shadow]\nbundle = "new"\n{wrong}\n')
        with pytest.raises(ConfigError, match=said):
            load_config(path)
    path.write_text(f"{camera}[camera.shadow]\n")
    with pytest.raises(ConfigError, match="camera 'door', shadow: 'bundle' is missing"):
        load_config(path)
