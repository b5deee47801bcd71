"""Exports, golden folders, checkpoints and .npz references that someone else wrote."""

from __future__ import annotations

import json
import random
import shutil
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from safetensors.torch import load_file, save_file

from tests.conftest import SMOKE
from tests.slow.harness import ROOT, Campaign, Fault, Program, faults_of
from tests.slow.mutations import mutated, replaced, spoiled

GOLDEN = ("1d", "2d", "prologue", "prologue_post")
FEATURES = 4


@frozen
class Context:
    """An export and what it draws, and the program."""

    program: Program
    folder: Path
    export: Path
    picture: bytes


def prepare(folder: Path, program: Program) -> Context:
    """The export of a tiny run."""
    (folder / "tiny.yaml").write_text(SMOKE)
    store = ["--store", folder / "store"]
    commands: list[list[Any]] = [
        ["run", folder / "tiny.yaml", *store, "--out", folder / "report"],
        ["export", folder / "report", *store, "--out", folder / "export"],
        ["sample", folder / "export", "--rows", "2", "--out", folder / "picture.png"],
    ]
    for command in commands:
        ending = program.run(command, cwd=folder, timeout=300)
        assert ending.code == 0, ending.text
    return Context(program, folder, folder / "export", (folder / "picture.png").read_bytes())


def attempt(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """Damage one folder or file, and use it."""
    return draw.choice(
        [_of_export, _of_export, _of_golden, _of_golden, _of_reference, _of_checkpoint]
    )(context, draw, folder)


def _of_export(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    export = folder / "export"
    shutil.copytree(context.export, export)
    kind = draw.choice(["config", "weights", "both"])
    told = _damage_config(draw, export / "config.json", context.folder) if kind != "weights" else ""
    if kind != "config":
        # As exports of earlier versions.
        if draw.random() < 0.5 and _is_document(export / "config.json"):
            config = json.loads((export / "config.json").read_bytes())  # in whatever encoding
            config.pop("weights", None)
            (export / "config.json").write_text(json.dumps(config))
            told += " without checksums,"
        name = draw.choice(["tokenizer", "generator"])
        told += " " + _damage_tensors(draw, export / f"{name}.safetensors", context.folder)
    picture = folder / "picture.png"
    ending = context.program.run(["sample", export, "--rows", "2", "--out", picture], cwd=folder)
    found = faults_of(ending, f"sample an export, {told}")
    known = (
        _is_document(export / "config.json")
        and "without checksums" not in told
        and kind == "weights"
    )
    if ending.code == 0 and known and picture.read_bytes() != context.picture:
        found.append(Fault("silent", f"sample an export, {told}: another picture"))
    return found


def _is_document(path: Path) -> bool:
    try:
        return (
            path.is_file()
            and not path.is_symlink()
            and isinstance(json.loads(path.read_bytes()), dict)
        )
    except (ValueError, RecursionError):
        return False


def _of_golden(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    golden = folder / "golden"
    shutil.copytree(ROOT / "tests" / "golden" / draw.choice(GOLDEN), golden)
    if draw.random() < 0.6:
        told = _damage_config(draw, golden / "config.json", context.folder)
    else:
        told = _damage_tensors(
            draw, draw.choice(sorted(golden.glob("*.safetensors"))), context.folder
        )
    return faults_of(
        context.program.run(["check-golden", golden], cwd=folder), f"check-golden, {told}"
    )


def _of_checkpoint(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    source = ROOT / "tests" / "golden" / draw.choice(GOLDEN)
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    for number, part in enumerate(("encoder", "decoder", "ar")):
        if draw.random() < 0.8:
            shutil.copy(source / f"{part}.safetensors", checkpoint / f"model_{number}.safetensors")
    told = "files missing"
    if files := sorted(checkpoint.iterdir()):
        told = _damage_tensors(draw, draw.choice(files), context.folder)
    preset = draw.choice(["prologue-b", "ar-b", "nothing"])
    arguments = ["import-checkpoint", checkpoint, "--preset", preset, "--out", folder / "store"]
    return faults_of(context.program.run(arguments, cwd=folder), f"import-checkpoint, {told}")


def _of_reference(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    path = folder / "reference.npz"
    told = _write_reference(draw, path)
    if draw.random() < 0.3:
        content = bytearray(path.read_bytes())
        for _ in range(draw.choice([1, 10])):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(
            bytes(content[: draw.randrange(len(content))] if draw.random() < 0.3 else content)
        )
        told += ", bytes changed"
    elif draw.random() < 0.1:
        told = replaced(draw, path, context.folder / "tiny.yaml")
    ending = context.program.run(
        [path], cwd=folder, call="tests.slow.exports:read_reference", memory=2**29
    )
    return faults_of(ending, f"reference, {told}")


def _write_reference(draw: random.Random, path: Path) -> str:
    """An .npz that may be whole, or wrong in one of its arrays."""
    square = np.cov(np.random.default_rng(draw.randrange(99)).normal(size=(FEATURES, 50)))
    arrays: dict[str, Any] = {"mu": np.zeros(FEATURES), "sigma": square}
    if draw.random() < 0.4:
        arrays["arr_0"] = np.zeros((8, 14, 14, 3), np.uint8)
    name = draw.choice(list(arrays))
    changed = arrays[name]
    ways: dict[str, Any] = {
        "NaN": lambda: np.full(changed.shape, np.nan),
        "infinite": lambda: np.full(changed.shape, -np.inf),
        "ones": lambda: (
            np.triu(np.ones(changed.shape)) if changed.ndim == 2 else np.ones(changed.shape)
        ),
        "negative": lambda: -np.abs(changed.astype(float)),
        "text": lambda: np.full(changed.shape, "x"),
        "objects": lambda: np.full(changed.shape, None),
        "complex": lambda: changed.astype(complex) + 1j,
        "whole": lambda: changed.astype(np.int8),
        "half": lambda: changed.astype(np.float16),
        "dates": lambda: changed.astype("datetime64[s]"),
        "records": lambda: np.zeros(changed.shape, "i4,f4"),
        "flat": changed.ravel,
        "transposed": lambda: changed.T,
        "scalar": lambda: np.float64(1),
        "same": lambda: changed,
        "empty": lambda: changed[:0],
        "wide": lambda: np.zeros((FEATURES, 3)),
        "bool": lambda: changed.astype(bool),
    }
    way = draw.choice([*ways, "missing", "header", "zeros"])
    if way in ways:
        arrays[name] = ways[way]()
    elif way == "missing":
        del arrays[name]
    if way != "header" and way != "zeros":
        np.savez(path, **arrays)
        return f"{name} {way}"
    shape = draw.choice([(10**12,), (2**63,), (-1,), (10**9, 10**9), (FEATURES,) * 40, (0,)])
    text = repr(
        {"descr": draw.choice(["<f8", "|O", "<U99", "x"]), "fortran_order": False, "shape": shape}
    ).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(
            f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 64
        )
        if way == "zeros":
            with file.open("sigma.npy" if name != "sigma" else "mu.npy", "w") as zeros:
                np.lib.format.write_array_header_1_0(
                    zeros, {"descr": "<f8", "fortran_order": False, "shape": (2**22,)}
                )
                zeros.write(bytes(2**25))
    return f"{name} {way} {shape}"


def read_reference(argv: list[str]) -> None:
    """Check a reference as planning does."""
    from prologue_bench.contracts import ImageSpec
    from prologue_bench.errors import PrologueBenchError
    from prologue_plugins.metrics.references import check_reference
    from prologue_plugins.metrics.settings import FidSettings

    try:
        settings = FidSettings(extractor="inception-v3-compat")
        check_reference(Path(argv[0]), settings, ImageSpec(3, 14, 14, ()), FEATURES)
    except PrologueBenchError as error:
        print(f"prologue-bench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _damage_config(draw: random.Random, path: Path, other: Path) -> str:
    return f"config.json: {spoiled(draw, path, other / 'tiny.yaml')}"


def _damage_tensors(draw: random.Random, path: Path, other: Path) -> str:
    """Another content of a safetensors file."""
    kind = draw.choice(
        ["bytes", "cut", "header", "tensors", "tensors", "tensors", "pickle", "file"]
    )
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    told = kind
    if kind == "bytes":
        changed = bytearray(content)
        for _ in range(draw.choice([1, 5, 50])):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(changed))
    elif kind == "cut":
        path.write_bytes(
            draw.choice(
                [content[: draw.randrange(len(content))], content + b"\0", content[8:], b""]
            )
        )
    elif kind == "header":
        header, told = mutated(draw, json.loads(content[8 : 8 + length]))
        text = json.dumps(header).encode("utf-8", "surrogatepass")
        size = draw.choice([len(text), len(text), len(text), 2**62, 0])
        path.write_bytes(size.to_bytes(8, "little") + text + content[8 + length :])
    elif kind == "tensors":
        tensors = load_file(path)
        name = draw.choice(sorted(tensors))
        value = tensors[name]
        way = draw.choice(
            [
                *("drop", "rename", "add", "half", "whole", "NaN", "inf", "large", "shape"),
                *("scalar", "empty"),
            ]
        )
        told = f"{name} {way}"
        if way in ("drop", "rename"):
            del tensors[name]
        if way in ("rename", "add"):
            tensors[draw.choice(["x", "x" * 2000, "enc.x", "\n"])] = value.clone()
        changes = {
            "half": value.to(torch.float16),
            "whole": value.to(torch.int64),
            "shape": torch.zeros(3, 5),
            "scalar": torch.tensor(1.0),
            "empty": torch.zeros(0),
            "NaN": torch.full_like(value.float(), float("nan")),
            "inf": torch.full_like(value.float(), float("inf")),
            "large": torch.full_like(value.float(), 3e38),
        }
        if way in changes:
            tensors[name] = changes[way].contiguous()
        save_file(tensors, path)
    elif kind == "pickle":
        torch.save({"x": torch.zeros(2)}, path)
    else:
        told = replaced(draw, path, other / "tiny.yaml")
    return f"{path.name}: {told:.80}"


CAMPAIGN = Campaign(
    name="exports",
    title=(
        "exports, safetensors, golden folders, checkpoints and .npz references with random damage"
    ),
    tries=800,
    share=6,
    prepare=prepare,
    attempt=attempt,
)
