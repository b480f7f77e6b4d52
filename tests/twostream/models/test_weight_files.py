"""Hostile files of torch: none runs code, takes down the process, or more memory than its bytes."""

from __future__ import annotations

import io
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from twostream.models.checkpoint import load_state
from twostream.models.weight_files import load_safely, unwrap
from twostream_base.errors import InputError
from twostream_base.files import sha256_file

LAYER = b"cmy\nNet\n)R}"  # an object of a class that nobody knows, and its empty state


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def nested_layers(depth: int, *, twice: bool) -> bytes:
    """Networks within each other; `twice` makes of each level two that are the same."""
    levels = LAYER + text("_modules") + b"}" + text("a")
    data = b"\x80\x02" + levels * depth + LAYER + b"b"
    for number in range(depth):
        place = number.to_bytes(4, "little")
        data += b"r" + place + b"s" + text("b") + b"j" + place if twice else b""
        data += b"ssb"
    return data + b"."


NESTED_KEY = b"\x80\x02}(" + b")" + b"\x85" * 200_000 + b"K\x01u."


def torch_file(path: Path, content: bytes | int) -> None:
    """An archive of torch with this pickle, or with one of so many zeros, packed."""
    whole = io.BytesIO()
    torch.save({}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as archive:
        for member in source.namelist():
            data = source.read(member)
            if member.endswith("data.pkl"):
                packing = zipfile.ZIP_STORED if isinstance(content, bytes) else zipfile.ZIP_DEFLATED
                data = content if isinstance(content, bytes) else bytes(content)
                archive.writestr(member, data, packing, compresslevel=1)
            else:
                archive.writestr(member, data)


@pytest.fixture
def bounded() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (NESTED_KEY, "tuples nested deeper"),
        (70_000_000, "far more than its size"),
        (nested_layers(3000, twice=False), "nested deeper than 64"),
        (nested_layers(60, twice=True), "more than 20,000"),
    ],
    ids=["keys", "zeros", "layers", "twice"],
)
def test_what_is_nested_or_packed(
    bounded: None, tmp_path: Path, content: bytes | int, fact: str
) -> None:
    torch_file(tmp_path / "w.pth", content)
    with pytest.raises(InputError, match=fact) as error:
        unwrap(tmp_path / "w.pth", load_safely(tmp_path / "w.pth"))
    assert "w.pth" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_nested_in_files_of_before_torch_1_6(bounded: None, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    legacy_file(path, NESTED_KEY)
    assert path.stat().st_size > len(NESTED_KEY)
    with pytest.raises(InputError, match=r"w\.pth: .*tuples nested deeper"):
        load_safely(path)


def legacy_file(path: Path, content: bytes) -> None:
    """A file of before torch 1.6 with this pickle."""
    torch.save({}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"\x80\x02}q\x00.", content))


def test_an_empty_archive_behind_it_hides_nothing(bounded: None, tmp_path: Path) -> None:
    """Torch looks at the first bytes of a file, zipfile at the last ones."""
    path = tmp_path / "state.pt"
    legacy_file(path, NESTED_KEY)
    with path.open("ab") as file:
        file.write(b"PK\x05\x06" + bytes(18))
    assert zipfile.is_zipfile(path)
    (tmp_path / "SHA256SUMS").write_text(f"{sha256_file(path)}  state.pt\n")
    with pytest.raises(InputError, match=r"state\.pt: .*tuples nested deeper"):
        load_safely(path)
    with pytest.raises(InputError, match=r"state\.pt: .*tuples nested deeper.*--restart"):
        load_state(tmp_path)


@pytest.mark.parametrize("where", ["behind it", "in the directory for large files"])
def test_an_archive_beside_another_hides_nothing(tmp_path: Path, where: str) -> None:
    """Zipfile reads the last archive of a file; torch the first, where both have one layout.

    And where the end of a file is of large ones, torch looks where it points, zipfile before it.
    """
    path, harmless = tmp_path / "w.pth", tmp_path / "harmless.pth"
    torch_file(path, NESTED_KEY)
    text = b"x" * (len(NESTED_KEY) - 10)
    torch_file(harmless, b"\x80\x02X" + len(text).to_bytes(4, "little") + text + b"0}.")
    first, second = path.read_bytes(), harmless.read_bytes()
    assert len(first) == len(second)
    if where == "behind it":
        path.write_bytes(first + second)
    else:
        first, second, end = first[:-22], second[:-22], second[-22:]
        locator = b"PK\x06\x07" + bytes(4) + len(first).to_bytes(8, "little") + b"\1\0\0\0"
        both = first + large_end(first) + second + large_end(second) + locator + end
        path.write_bytes(both)
        with zipfile.ZipFile(path) as archive:
            assert text in archive.read(archive.namelist()[0])
        assert torch._C.PyTorchFileReader(str(path)).get_record("data.pkl") == NESTED_KEY
    with pytest.raises(InputError, match=r"w\.pth: .*two archives"):
        load_safely(path)


def large_end(archive: bytes) -> bytes:
    """The end record of 64 bits of an archive without its end."""
    start, count = archive.index(b"PK\x01\x02"), archive.count(b"PK\x01\x02")
    numbers = (count, count, len(archive) - start, start)
    head = b"PK\x06\x06" + (44).to_bytes(8, "little") + b"\x2d\0\x2d\0" + bytes(8)
    return head + b"".join(number.to_bytes(8, "little") for number in numbers)


def test_a_packed_archive(bounded: None, tmp_path: Path) -> None:
    """What it unpacks to is told twice in its directory, and readers differ in which they take."""
    path = tmp_path / "w.pth"
    torch.save({"w": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match=r"w\.pth: .*packed"):
        load_safely(path)


def test_what_stops_the_check_is_refused(bounded: None, tmp_path: Path) -> None:
    """A name that the check cannot decode, or a wrong checksum, before what torch would build."""
    path, name = tmp_path / "w.pth", "cmy\nN\u00e9t\n0".encode()
    for write in (legacy_file, torch_file):
        write(path, NESTED_KEY[:2] + name + NESTED_KEY[2:])
        with pytest.raises(InputError, match=r"w\.pth: .*damaged"):
            load_safely(path)
    torch_file(path, NESTED_KEY)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith("data.pkl"))
    checksum = member.CRC.to_bytes(4, "little")
    path.write_bytes(whole.replace(checksum, b"\1\2\3\4"))
    with pytest.raises(InputError, match=r"w\.pth: .*damaged.*CRC"):
        load_safely(path)


def test_a_file_of_before_torch_1_6_in_protocol_4(tmp_path: Path) -> None:
    """Torch's magic number is further behind there: it is no pickle of Caffe2."""
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(2)}, path, pickle_protocol=4,
               _use_new_zipfile_serialization=False)  # fmt: skip
    with pytest.raises(InputError, match=r"w\.pth: .*torch\.save"):
        load_safely(path)


def test_a_training_state(bounded: None, tmp_path: Path) -> None:
    torch_file(tmp_path / "state.pt", NESTED_KEY)
    (tmp_path / "SHA256SUMS").write_text(f"{sha256_file(tmp_path / 'state.pt')}  state.pt\n")
    with pytest.raises(InputError, match=r"state\.pt: .*tuples nested deeper.*--restart"):
        load_state(tmp_path)


WEIGHT = torch.zeros(8, 3, 3, 3)


def test_many_layers_are_no_larger_than_the_file_together(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({str(n): torch.zeros(1).expand(1 << 22) for n in range(5)}, path)  # 16 MiB each
    with pytest.raises(InputError, match=r"w\.pth: its 5 layers are 83,886,080 bytes.* 20;"):
        load_safely(path)
    tied = torch.zeros(1 << 22)
    torch.save({str(n): tied for n in range(10)}, path)
    assert len(load_safely(path)) == 10


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ({"a": torch.zeros(1).as_strided((10**6, 10**6), (0, 0))}, "a: "),
        ({"a": WEIGHT.to_sparse()}, "a: "),
        ({"a": WEIGHT.to(torch.complex64)}, "a: "),
        ({"a": torch.empty(8, device="meta")}, "a: "),
        ({0: WEIGHT}, "it holds 0"),
    ],
)
def test_what_are_no_plain_weights(tmp_path: Path, content: dict, fact: str) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=fact) as error:
        unwrap(path, load_safely(path))
    assert "w.pth" in str(error.value)
