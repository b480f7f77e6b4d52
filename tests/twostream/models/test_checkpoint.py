from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Iterator
from dataclasses import asdict, make_dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from twostream.models import checkpoint
from twostream.models.checkpoint import (
    NetworkSpec,
    has_checkpoint,
    load_state,
    load_weights,
    read_spec,
    save_checkpoint,
)
from twostream_base.errors import InputError, disk_error
from twostream_base.files import sha256_file

CARD = NetworkSpec(
    model="resnet18", model_options={}, stream="motion", clip_length=10, frame_interval=1,
    resize=(), class_names=("a", "b"), num_segments=3, consensus="mean",
    consensus_options={}, input_size=224, epoch=4, selected_on="val",
    flow={"method": "dis", "bound": 20.0},
)  # fmt: skip
STATE = {"next_epoch": 5, "rows": [{"epoch": 4, "loss": 0.5}], "optimizer": {"lr": 0.1}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "last", nn.Linear(3, 2), CARD, STATE)
    return tmp_path / "last"


def test_round_trip(folder: Path) -> None:
    network = nn.Linear(3, 2)
    load_weights(folder, network)
    save_checkpoint(folder, network, CARD, STATE)
    again = nn.Linear(3, 2)
    load_weights(folder, again)
    assert torch.equal(network.weight, again.weight)
    assert read_spec(folder) == CARD
    state = load_state(folder)
    assert {key: state[key] for key in STATE} == STATE
    assert has_checkpoint(folder)
    assert not has_checkpoint(folder.parent / "best")


@pytest.fixture
def small_files() -> Iterator[None]:
    """A disk that takes 20 kB of a file and no more."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("large", ["weights", "state"])
def test_a_full_disk_is_told_with_its_folder_and_the_old_checkpoint_stays(
    folder: Path, large: str
) -> None:
    """The libraries say it in words of their own, torch not at all."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    network = nn.Linear(100, 100) if large == "weights" else nn.Linear(3, 2)
    state = {"tensor": torch.zeros(10_000)} if large == "state" else STATE
    with pytest.raises(OSError, match="File too large") as caught:
        save_checkpoint(folder, network, CARD, state)
    assert caught.value.errno == errno.EFBIG
    assert disk_error(caught.value).startswith(f"{folder}: File too large; ")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert [path.name for path in folder.parent.iterdir()] == ["last"]


@pytest.mark.parametrize("file", ["weights.safetensors", "state.pt", "SHA256SUMS"])
def test_a_checkpoint_that_lacks_a_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(InputError, match=rf"{file} is missing.*--restart"):
        load_state(folder) if file != "weights.safetensors" else load_weights(
            folder, nn.Linear(3, 2)
        )


@pytest.mark.parametrize("content", [b"", b"noise", b"\x80\x04N.", b"PK\x03\x04" + b"\0" * 40])
def test_a_torn_state_whose_sum_is_right_is_one_line(folder: Path, content: bytes) -> None:
    (folder / "state.pt").write_bytes(content)
    (folder / "SHA256SUMS").write_text(f"{sha256_file(folder / 'state.pt')}  state.pt\n")
    with pytest.raises(InputError, match=r"state\.pt: .*--restart") as caught:
        load_state(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["weights.safetensors", "state.pt"])
def test_any_flipped_bit_is_found(folder: Path, file: str) -> None:
    path = folder / file
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 50)):
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(InputError, match=f"{file}: does not match its checksum"):
            load_state(folder) if file == "state.pt" else load_weights(folder, nn.Linear(3, 2))


def test_other_weights_and_other_files_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"weights.safetensors: the weights do not fit"):
        load_weights(folder, nn.Linear(3, 5))
    (folder / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"last/weights.safetensors: .*10 bytes"):
        read_spec(folder)


@pytest.mark.parametrize("stack", [0, 3])
def test_a_damaged_stack_is_told(tmp_path: Path, stack: int) -> None:
    save_checkpoint(tmp_path / "last", nn.Linear(3, 2), replace(CARD, stack=stack), STATE)
    with pytest.raises(InputError, match=rf"last/weights.safetensors: .*stack.* {stack}, .* 10"):
        read_spec(tmp_path / "last")


def test_a_card_of_another_version_is_told(tmp_path: Path) -> None:
    older = {key: value for key, value in asdict(CARD).items() if key != "resize"} | {"side": 256}
    spec = make_dataclass("OlderCard", older)(**older)
    save_checkpoint(tmp_path / "last", nn.Linear(3, 2), spec, STATE)
    message = r"weights.safetensors: .* of this version, .* lacks resize and has besides side. Use"
    with pytest.raises(InputError, match=message):
        read_spec(tmp_path / "last")


def test_a_state_of_another_version_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "STATE_FORMAT", checkpoint.STATE_FORMAT + 1)
    with pytest.raises(InputError, match=r"state.pt: of another version .* or --restart"):
        load_state(folder)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('executed', 'w').close()",))


def test_a_hostile_state_does_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checksum is right: whoever can change the state can change that too."""
    monkeypatch.chdir(folder)
    torch.save({"rows": Hostile()}, folder / "state.pt")
    (folder / "SHA256SUMS").write_text(f"{sha256_file(folder / 'state.pt')}  state.pt\n")
    with pytest.raises(InputError, match=r"state.pt: cannot be read"):
        load_state(folder)
    assert not Path("executed").exists()
