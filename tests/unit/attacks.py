"""Torch files that try to run something when they are read, with every trick that is known.

Each program makes the folder named by CANARY where it is executed.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path


def text(value: str) -> bytes:
    """An instruction that puts a text on the stack."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def called(module: str, name: str, *arguments: bytes) -> bytes:
    """A call by the classic instructions GLOBAL and REDUCE."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def programs(canary: Path) -> dict[str, bytes]:
    """By trick: the whole program. The result is often not even a table."""
    folder = text(str(canary))
    code = text(f"import os; os.mkdir({str(canary)!r})")
    expression = text(f"__import__('os').mkdir({str(canary)!r})")
    begin, end = b"\x80\x04", b"."
    made = called("os", "mkdir", folder)
    table = b"}(" + text("string_to_param") + b"}(" + text("*")
    return {
        "REDUCE": begin + made + end,
        "REDUCE of eval": begin + called("builtins", "eval", expression) + end,
        "REDUCE of exec": begin + called("builtins", "exec", code) + end,
        "protocol 0": b"cos\nmkdir\n(S'" + str(canary).encode() + b"'\ntR.",
        "STACK_GLOBAL": begin + text("os") + text("mkdir") + b"\x93" + folder + b"\x85R" + end,
        "INST": begin + b"(" + folder + b"ios\nmkdir\n" + end,
        "OBJ": begin + b"(cos\nmkdir\n" + folder + b"o" + end,
        "partial": begin + called("functools", "partial", b"cos\nmkdir\n", folder) + b")R" + end,
        "map": begin
        + called(
            "builtins", "list", called("builtins", "map", b"cos\nmkdir\n", b"(" + folder + b"t")
        )
        + end,
        "getattr": begin
        + called("builtins", "getattr", called("builtins", "__import__", text("os")), text("mkdir"))
        + folder
        + b"\x85R"
        + end,
        "importlib": begin
        + called(
            "builtins", "getattr", called("importlib", "import_module", text("os")), text("mkdir")
        )
        + folder
        + b"\x85R"
        + end,
        "methodcaller": begin
        + called("operator", "methodcaller", text("mkdir"), folder)
        + b"("
        + called("builtins", "__import__", text("os"))
        + b"tR"
        + end,
        "timeit": begin
        + called("timeit", "timeit", text("0"), code, b"ctime\nperf_counter\n", b"K\x01")
        + end,
        "after a harmless call": begin
        + called("code", "InteractiveInterpreter")
        + b"0"
        + called("builtins", "exec", code)
        + end,
        "in a table": begin + b"}" + text("a") + made + b"s" + end,
        "in a key": begin + b"}" + made + b"K\x01s" + end,
        "in the vectors": begin + table + made + b"uu" + end,
        "in a popped value": begin + made + b"0}" + end,
        "in the memo": begin + made + b"\x940h\x00" + end,
        "as a storage": begin
        + b"("
        + text("storage")
        + made
        + text("0")
        + text("cpu")
        + b"K\x01tQ.",
        "before a second program": begin + made + b"0}." + begin + made + end,
        "in a parameter": begin
        + called(
            "torch._utils",
            "_rebuild_parameter",
            made,
            b"\x88",
            called("collections", "OrderedDict"),
        )
        + end,
        "in a tensor's shape": begin
        + called("torch._utils", "_rebuild_tensor_v2", made, b"K\x00", b")", b")", b"\x89", b"N")
        + end,
        "in an inert value": begin + called("numpy", "dtype", made) + end,
        "BUILD": begin
        + called("collections", "OrderedDict")
        + b"}"
        + text("a")
        + made
        + b"sb"
        + end,
        "NEWOBJ": begin + b"cfunctools\npartial\n(cos\nmkdir\n" + folder + b"t\x81)R" + end,
        "NEWOBJ_EX": begin + b"cfunctools\npartial\n(cos\nmkdir\n" + folder + b"t}\x92)R" + end,
        "protocol 2 long": b"\x80\x02" + made + end,
        "FRAME": begin + b"\x95" + struct.pack("<Q", len(made) + 1) + made + end,
    }


def in_zip(program: bytes, path: Path, **more: bytes) -> Path:
    """A torch file of today's layout with this program."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")
        for name, content in more.items():
            archive.writestr(f"archive/data/{name}", content)
    return path


def in_legacy(program: bytes, path: Path, at: int = 3) -> Path:
    """A torch file of the old layout with this program in place of its `at`-th."""
    magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    facts = b"\x80\x02}" + text("little_endian") + b"\x88s."
    parts = [magic, b"\x80\x02M\xe9\x03.", facts, b"\x80\x02}.", b"\x80\x02]."]
    parts[at] = program
    path.write_bytes(b"".join(parts))
    return path
