"""Pickles are walked, never loaded: what they would import, and what stops the walk."""

import builtins
import collections
import io
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from formats import ATTACK, DATA, HARMLESS, IMPORTS_OS, NOTE, dangers, inspect, short, state_dict
from hypothesis import given, settings
from hypothesis import strategies as st

from nimctl.core.errors import VerificationError
from nimctl.store.formats import ScanLimits, inspect_file
from nimctl.store.formats.budget import Budget
from nimctl.store.formats.findings import shown
from nimctl.store.formats.pickles import scan_pickles

DIGITS = "cannot be read as a pickle: an index has more digits than any needs"
HIDES = "imports something and hides its name"
NAMES = [
    "pytorch_model.bin",
    "a/b.pt",
    "c.PTH",
    "model.ckpt",
    "x.pkl",
    "x.pickle",
    "x.distcp",
    ".metadata",
]


class Attack:
    """Were it loaded, it would run a program; only its pickle is looked at."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("ls",)


class Evaluates:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return builtins.eval, ("1",)


class Reaches:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, str]]:
        return getattr, (collections, "abc")


@pytest.mark.parametrize("name", NAMES)
def test_an_import_that_weights_do_not_need_is_a_danger(tmp_path: Path, name: str) -> None:
    assert dangers(tmp_path, name, ATTACK) == [IMPORTS_OS]


@pytest.mark.parametrize("name", NAMES)
def test_a_clean_pickle_gives_one_note(tmp_path: Path, name: str) -> None:
    (note,) = inspect(tmp_path, name, HARMLESS)
    assert (note.path, note.severity, note.message) == (name, "note", NOTE)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_walked(tmp_path: Path, protocol: int) -> None:
    attack = pickle.dumps({"w": [Attack()] * 2, "e": Evaluates()}, protocol)
    eval_name = "builtins.eval" if protocol > 2 else "__builtin__.eval"
    module = os.system.__module__
    assert dangers(tmp_path, "x.pkl", attack) == [
        f"imports {module}.system",
        f"imports {eval_name}",
    ]
    plain: dict[str, object] = {
        "a": [1, -1.5, None, True, 2**80, "é\n'", b"\xff", (), (1, 2, 3, 4), {1}, {}, 2j]
    }
    (note,) = inspect(tmp_path, "x.pkl", pickle.dumps(plain, protocol))
    assert note.severity == "note"


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_values_are_clean(tmp_path: Path, protocol: int) -> None:
    values = {"a": np.ones((2, 3)), "s": np.float32(1), "o": np.array([None]), "d": np.dtype("<i4")}
    (note,) = inspect(tmp_path, "x.pkl", pickle.dumps(values, protocol))
    assert note.severity == "note"


@pytest.mark.parametrize("file", ["new.pt", "legacy.pt", "mixed.ckpt"])
def test_what_torch_saved_is_clean(file: str) -> None:
    # torch 2.13.0: state dictionaries, the second with `_use_new_zipfile_serialization=False`, the
    # third with a NumPy array, a scalar, a dtype, a set, bytes, a size and a device beside it.
    (note,) = inspect_file(DATA / file, file)
    assert note.message == NOTE


def test_what_torch_scripted_is_code_and_named_so() -> None:
    # torch 2.13.0: `torch.jit.script(torch.nn.Linear(2, 2)).save(...)`
    found = inspect_file(DATA / "script.pt", "script.pt")
    assert found[0].message == (
        "imports __torch__.torch.nn.modules.linear.Linear, in script/data.pkl"
    )


@pytest.mark.parametrize(
    ("case", "content", "says"),
    [
        ("GLOBAL", b"cos\nsystem\n.", IMPORTS_OS),
        ("INST", b"(S'ls'\nios\nsystem\n.", IMPORTS_OS),
        ("INST without mark", b"ios\nsystem\n.", IMPORTS_OS),
        ("OBJ", b"(cos\nsystem\nS'ls'\no.", IMPORTS_OS),
        ("STACK_GLOBAL", b"\x80\x04" + short("os") + short("system") + b"\x93.", IMPORTS_OS),
        (
            "STACK_GLOBAL through the memo",
            b"\x80\x04" + short("os") + b"q\x05" + short("system") + b"\x9400h\x05h\x01\x93.",
            IMPORTS_OS,
        ),
        (
            "a memo entry that is overwritten",
            b"\x80\x04"
            + short("set")
            + b"q\x010"
            + short("os")
            + b"q\x010h\x01"
            + short("system")
            + b"\x93.",
            IMPORTS_OS,
        ),
        (
            "strings shuffled with DUP, POP and marks",
            b"\x80\x04" + short("os") + b"2(N10" + short("os") + b"(0" + short("system") + b"\x93.",
            IMPORTS_OS,
        ),
        ("old strings", b"\x80\x02U\x02osT\x06\0\0\0system\x93.", IMPORTS_OS),
        ("lines", b"Vos\nVsystem\n\x93.", IMPORTS_OS),
        ("quoted", b"S'os'\nS'system'\n\x93.", IMPORTS_OS),
        (
            "an attribute of an attribute",
            b"\x80\x04"
            + short("torch._utils")
            + short("_rebuild_tensor_v2.__globals__")
            + b"\x93.",
            "imports torch._utils._rebuild_tensor_v2.__globals__",
        ),
        (
            "another function of a good module",
            b"ctorch._utils\n_import_dotted_name\n.",
            "imports torch._utils._import_dotted_name",
        ),
        ("getattr", pickle.dumps(getattr, 0), "imports __builtin__.getattr"),
        (
            "a name that a call makes",
            b"\x80\x04c_codecs\nencode\n" + short("os") + b"\x85R" + short("system") + b"\x93.",
            HIDES,
        ),
        ("a long name", b"c" + b"a" * 5000 + b"\nsystem\n.", HIDES),
        ("an extension", b"\x80\x02\x82\x07.", "imports what is registered as extension 7"),
        ("a class that is changed", b"\x80\x02ctorch\nTensor\n}b.", "changes torch.Tensor"),
        ("a name that moves the cursor", b"c\x1b[2J\nx\n.", r"imports \x1b[2J.x"),
        ("no newline at the end", b"cos\nsystemX", IMPORTS_OS),
        ("behind a clean pickle", HARMLESS + ATTACK, IMPORTS_OS),
        ("before bytes that are no opcode", b"\x80\x02cos\nsystem\n\xff", IMPORTS_OS),
        (
            "behind long bytes",
            b"\x80\x04\x8e" + struct.pack("<Q", 9999) + bytes(9999) + ATTACK,
            IMPORTS_OS,
        ),
        ("behind a long string", b"X" + struct.pack("<I", 5000) + b"c" * 5000 + ATTACK, IMPORTS_OS),
        ("behind a long line", b"S'" + b"c" * 200_000 + b"'\n" + ATTACK, IMPORTS_OS),
        ("behind an index with a NUL", b"Np1\0\n" + ATTACK, IMPORTS_OS),
        ("behind an index of many digits", b"Np" + b"0" * 1100 + b"1\n" + ATTACK, DIGITS),
    ],
)
def test_no_way_to_import_is_missed(tmp_path: Path, case: str, content: bytes, says: str) -> None:
    # .bin, because there what is no pickle gives nothing.
    assert dangers(tmp_path, "model.bin", content)[0] == says, case


def test_a_checkpoint_names_each_import_once(tmp_path: Path) -> None:
    content = state_dict("posix system", "builtins eval", "posix system", "torch float16")
    assert dangers(tmp_path, "model.bin", content) == [
        "imports posix.system",
        "imports builtins.eval",
    ]
    (note,) = inspect(tmp_path, "model.bin", state_dict("torch float16", "__builtin__ set"))
    assert note.severity == "note"


def test_after_twenty_dangers_the_verdict_is_clear(tmp_path: Path) -> None:
    content = b"".join(b"cos\nf%d\n" % number for number in range(30)) + b"."
    found = dangers(tmp_path, "model.bin", content)
    assert found == [f"imports os.f{number}" for number in range(20)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF\x03\0\0\0" + bytes(64),
        b"lmgg" + bytes(64),
        bytes(1024),
        b".",  # ends a pickle that made nothing
        b"(.",
        b"g7\n" + ATTACK,  # remembers nothing as 7, so what follows never runs
        b"ftrt" + bytes(100),
    ],
)
def test_a_file_that_is_no_pickle_gives_nothing(tmp_path: Path, content: bytes) -> None:
    assert inspect(tmp_path, "model.bin", content) == ()


def test_other_names_are_only_looked_at_if_they_begin_like_a_pickle(tmp_path: Path) -> None:
    assert inspect(tmp_path, "config.yaml", b"cos\nsystem\n.") == ()
    assert inspect(tmp_path, "raw.data", b"\x80\x02\0\0\0") == ()
    protocol_2 = b"\x80\x02" + ATTACK
    assert dangers(tmp_path, "model.weights", protocol_2) == [IMPORTS_OS]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.bin", HARMLESS[:-1], "it is cut off"),
        ("x.bin", HARMLESS[:9], "it is cut off"),
        ("x.bin", b"\x80\x04\xff", "0xff is no opcode"),
        ("x.bin", b"\x80\x02R.", "REDUCE finds too little on the stack"),
        ("x.bin", b"\x80\x02h\x01.", "it remembers nothing as 1"),
        ("x.bin", b"\x80\x02N(R.", "REDUCE finds too little on the stack"),
        ("x.bin", b"\x80\x02\x8b\xff\xff\xff\xff", "-1 is no length"),
        ("x.bin", b"\x80\x04\x8e" + b"\xff" * 8, "is no length"),
        ("x.bin", b"\x80\x04\x8e" + struct.pack("<Q", 2**61), "it is cut off"),
        ("x.bin", b"ccollections\nOrderedDict\n\xff", "0xff is no opcode"),
        ("x.pkl", b"", "it is cut off"),
        ("x.pickle", b"hello", "it remembers nothing as 101"),
    ],
)
def test_a_pickle_that_cannot_be_walked_is_a_danger(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (found,) = dangers(tmp_path, name, content)
    assert found.startswith("cannot be read as a pickle: ")
    assert says in found


@pytest.mark.parametrize(
    ("content", "limits", "says"),
    [
        (b"\x80\x02" + b"N0" * 500 + b"N.", ScanLimits(opcodes=999), "more than 999 opcodes"),
        (b"N" + b"2" * 2000 + b".", ScanLimits(opcodes=999), "more than 999 opcodes"),
        (b"N." * 600, ScanLimits(opcodes=999), "more than 999 opcodes"),
        (b"\x80\x04N" + b"\x94" * 101 + b".", ScanLimits(memo_entries=100), "more than 100 things"),
        (b"\x80\x02" + b"(" * 101, ScanLimits(nested_marks=100), "more than 100 deep"),
    ],
)
def test_a_bomb_stops_at_a_limit_and_is_a_danger(
    tmp_path: Path, content: bytes, limits: ScanLimits, says: str
) -> None:
    (found,) = dangers(tmp_path, "x.bin", content, limits)
    assert says in found


def test_strings_beyond_the_limit_are_forgotten_and_then_hide_names(tmp_path: Path) -> None:
    content = b"\x80\x04" + short("torch") + short("Size") + b"\x93."
    (note,) = inspect(tmp_path, "x.pt", content)
    assert note.severity == "note"
    found = dangers(tmp_path, "x.pt", content, ScanLimits(text_bytes=100))
    assert found == [HIDES]


@pytest.mark.parametrize(
    "one",
    [
        b"r\xff\xff\xff\x7f",  # the memo's entry 2**31
        b"X\x00\x04\x00\x00" + b"x" * 1024 + b"\x94",
        b"B\x00\x00\x10\x00" + bytes(1 << 20) + b"0",
    ],
)
def test_memory_stays_small_whatever_a_pickle_says(tmp_path: Path, one: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04N" + one * (max(1, (16 << 20) // len(one)) if len(one) > 9 else 9))
    limits = ScanLimits(text_bytes=1 << 20)
    tracemalloc.start()
    try:
        inspect_file(path, "x.pkl", limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20


class Harmless:
    """Stands for whatever the real unpicklers would import: takes all, does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        self.append = self.extend = self.add = lambda *_: None

    def __setitem__(self, *_: object) -> None:
        pass


class Recorded:
    """What an unpickler imported, before it ended or failed."""

    def __init__(self, content: bytes, base: type) -> None:
        self.names: list[str] = []
        names = self.names

        def find_class(_: object, module: str, name: str) -> type:
            names.append(f"{module}.{name}")
            return Harmless

        recorder = type(
            "Recorder",
            (base,),
            {"find_class": find_class, "persistent_load": lambda _, key: Harmless(key)},
        )
        try:
            recorder(io.BytesIO(content), fix_imports=False).load()
        except Exception as error:  # noqa: BLE001 - whatever chance makes an unpickler do
            self.error = error


fragments = st.sampled_from(
    [
        *(bytes([code]) for code in b"(0125NN)]}led.QRaesutob"),
        *(bytes([code]) for code in b"\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x93\x94\x97\x98"),
        *(b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"p0\n", b"p 1\n", b"g0\n", b"g1\n", b"p1\0x\n"),
        *(b"r\x02\0\0\0", b"j\x02\0\0\0", b"K\x01", b"M\0\1", b"J\0\0\0\0", b"I01\n", b"L5L\n"),
        *(short("m"), short("f"), short("m"), short("f"), b"Vm\n", b"Vf\n", b"S'm'\n", b'S"f"\n'),
        *(b"U\x01m", b"T\x01\0\0\0f", b"X\x01\0\0\0m", b"\x8d\x01" + bytes(7) + b"f"),
        *(b"cm\nf\n", b"im\nf\n", b"cm\ng", b"Pid\n", b"C\x01x", b"\x96\x01" + bytes(8)),
        *(b"\x80\x02", b"\x80\x04", b"\x95" + bytes(8), b"\x95\x02" + bytes(7), b"G" + bytes(8)),
        *(b"\x82\x01", b"\x8a\x01\x05", b"F1.5\n", b"\xff"),
    ]
)


@given(st.lists(fragments, max_size=24).map(b"".join))
@settings(max_examples=1000, deadline=None)
def test_whatever_an_unpickler_imports_is_reported(content: bytes) -> None:
    scan = scan_pickles(io.BufferedReader(io.BytesIO(content)), Budget(ScanLimits(), len(content)))
    # Both are the standard library's; they do not agree in everything.
    for unpickler in (pickle.Unpickler, pickle._Unpickler):  # noqa: SLF001 - the one in Python
        imported = Recorded(content, unpickler).names
        hidden = HIDES in scan.problems
        assert all(f"imports {shown(name)}" in scan.problems or hidden for name in imported)


@given(
    st.sampled_from(["x.bin", "x.pkl", "x.nemo", "x.npz", "x.npy", "x.safetensors", "x"]),
    st.sampled_from([b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY", b"\x1f\x8b\x08\0"]),
    st.binary(max_size=600),
)
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, head: bytes, tail: bytes
) -> None:
    try:
        found = inspect(tmp_path_factory.getbasetemp(), name, head + tail)
    except VerificationError:
        assert name.endswith(".safetensors")
    else:
        assert all(one.message for one in found)
