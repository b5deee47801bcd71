"""Images against a reference without an ablation: what is read, paired, chosen and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.utils.data import TensorDataset

import prologue_bench as pb
from prologue_bench.cli.app import cli
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.measuring import ImageMeasurements
from prologue_bench.registry import Registry
from prologue_plugins.datasets.files import ImageFiles
from prologue_plugins.datasets.settings import ImageFilesSettings
from prologue_plugins.metrics.extractors import register
from tests.factories.image_files import encoded
from tests.factories.measuring import noisy
from tests.factories.places import folder, npz, tarred, zipped

REGISTRY = Registry.load()
CNN = {"extractor": "fashion-mnist-cnn"}
COUNT = 70
"""More than the features of the small classifier."""


def blobs(seed: int = 0, channels: int = 1, count: int = COUNT) -> np.ndarray:
    """Smooth images [N, H, W, C] that differ."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, channels), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, 7, 7, 1), dtype=np.uint8))


GREY, COLOURS = blobs(), blobs(channels=3)
NOISY = noisy(GREY, 20)


def files(images: np.ndarray, ending: str = "png", place: str = "{}") -> dict[str, bytes]:
    return {
        f"{place.format(index)}.{ending}": encoded(Image.fromarray(image.squeeze()))
        for index, image in enumerate(images)
    }


def measured(tmp_path: Path, images: Any, reference: Any, *metrics: Any, **given: Any) -> Any:
    return pb.measure(
        images, reference, metrics or None, registry=REGISTRY, cache=tmp_path / "cache", **given
    )


def read(path: Path, size: int = 0) -> ImageFiles:
    return ImageFiles(ImageFilesSettings(root=str(path), size=size))


@pytest.mark.parametrize(
    "make",
    [
        lambda at: folder(at / "set", files(GREY, "PNG", "deep/er/{:03}")),
        lambda at: zipped(at / "set.zip", files(GREY, "png", "set/{:03}")),
        lambda at: zipped(at / "set.zip", files(GREY, "png", "set\\{:03}")),
        lambda at: zipped(at / "set.zip", files(GREY, "png", "./set/{:03}")),
        lambda at: tarred(at / "set.tar", files(GREY, "png", "./{:03}")),
        lambda at: npz(at / "set.npz", arr_0=GREY),
        lambda at: npz(at / "set.npz", images=GREY[..., 0]),
        lambda at: npz(at / "set.npz", arr_0=GREY.transpose(0, 3, 1, 2)),
    ],
    ids=["folder", "zip", "backslashes", "zip of .", "tar", "npz", "npz grey", "npz planes"],
)
def test_the_same_images_are_the_same_whatever_they_are_kept_in(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    found = read(make(tmp_path))
    assert np.array_equal(np.asarray(found.images("test")), GREY.transpose(0, 3, 1, 2))
    assert found.fingerprint == read(npz(tmp_path / "other.npz", arr_0=GREY)).fingerprint
    assert len(found.images("train")) == len(found.labels("train")) == 0


def test_classes_are_folders_numbers_beside_images_or_labels(tmp_path: Path) -> None:
    content = files(GREY[:4], place="{}") | {f"{i}.cls": str(i % 2).encode() for i in range(4)}
    by_number = read(tarred(tmp_path / "set.tar", content))
    by_label = read(npz(tmp_path / "set.npz", arr_0=GREY[:4], arr_1=np.arange(4) % 2))
    by_folder = read(
        folder(tmp_path / "set", {f"{'ab'[i % 2]}/{i}.png": content[f"{i}.png"] for i in range(4)})
    )
    assert by_number.labels("test").tolist() == by_label.labels("test").tolist() == [0, 1, 0, 1]
    assert by_folder.labels("test").tolist() == [0, 0, 1, 1]
    assert by_number.spec.class_names == by_label.spec.class_names == ("0", "1")
    assert by_folder.spec.class_names == ("a", "b")


def test_files_are_paired_by_name_and_their_order_does_not_matter(tmp_path: Path) -> None:
    names = [f"{(9 * index) % COUNT:03}" for index in range(COUNT)]
    own = {
        f"out/{n}.JPG": encoded(Image.fromarray(i.squeeze()))
        for n, i in zip(names, NOISY, strict=True)
    }
    others = {
        f"in/{n}.png": encoded(Image.fromarray(i.squeeze()))
        for n, i in zip(names, GREY, strict=True)
    }
    found = measured(
        tmp_path, folder(tmp_path / "a", own), zipped(tmp_path / "b.zip", others), "psnr", "ssim"
    )
    expected = measured(tmp_path, NOISY, GREY, "psnr", "ssim")
    assert found["psnr"] == pytest.approx(expected["psnr"], rel=1e-12)
    assert found["ssim"] == pytest.approx(expected["ssim"], rel=1e-12)
    assert "images are paired by the names of their files" in found.notes
    assert "images are paired in their order: neither has names" in expected.notes


def test_numbers_stand_for_places_in_what_has_no_names(tmp_path: Path) -> None:
    own = folder(tmp_path / "a", files(NOISY))
    expected = measured(tmp_path, NOISY, GREY, "psnr")["psnr"]
    assert measured(tmp_path, own, GREY, "psnr")["psnr"] == pytest.approx(expected, rel=1e-12)
    assert measured(tmp_path, GREY, own, "psnr")["psnr"] == pytest.approx(expected, rel=1e-12)


def test_files_of_the_reference_s_names_are_reconstructions_and_others_samples(
    tmp_path: Path,
) -> None:
    own, others = folder(tmp_path / "a", files(NOISY)), folder(tmp_path / "b", files(GREY))
    cnn = {"settings": CNN}
    assert [each.name for each in measured(tmp_path, own, others, **cnn).records] == [
        *("rfid", "psnr", "ssim")
    ]
    found = measured(tmp_path, NOISY, others, **cnn)
    assert [each.name for each in found.records] == [
        *("gfid", "precision", "recall", "density", "coverage")
    ]


def test_a_limit_is_balanced_over_classes_and_part_of_the_protocol(tmp_path: Path) -> None:
    labels = np.repeat([0, 1], COUNT // 2)
    own = npz(tmp_path / "own.npz", arr_0=np.repeat(NOISY, 2, axis=0), arr_1=np.repeat(labels, 2))
    found = measured(tmp_path, own, GREY, {"use": "gfid", **CNN}, limit=COUNT)
    (record,) = found.records
    assert record.protocol.details["chosen"] == "class-balanced subset of 70 of 140, seed 0"
    assert record.count == COUNT
    unknown = measured(tmp_path, NOISY, GREY, "psnr", limit=9)
    assert unknown.records[0].protocol.details["chosen"] == "random subset of 9 of 70, seed 0"
    assert unknown.records[0].count == 9
    assert unknown["psnr"] != measured(tmp_path, NOISY, GREY, "psnr", limit=10)["psnr"]


def test_sizes_are_brought_to_one_by_a_rule_that_the_protocol_names(tmp_path: Path) -> None:
    large = np.kron(GREY[:3], np.ones((1, 2, 2, 1), dtype=np.uint8))
    own = folder(tmp_path / "own", files(GREY[:3]))
    others = folder(tmp_path / "others", files(large))
    with pytest.raises(UserError, match=r"28 x 28 pixels, expected 56 x 56 .*--size 256"):
        measured(tmp_path, own, others, "psnr")
    found = measured(tmp_path, own, others, "psnr", size=28)
    assert found.records[0].protocol.details["size"] == (
        "all images cropped at their centre and resized to 28 x 28, as ADM does"
    )
    assert found["psnr"] > 20
    assert (
        measured(tmp_path, npz(tmp_path / "a.npz", arr_0=large), others, "psnr", size=28)["psnr"]
        == 100
    )


def test_grey_images_are_compared_with_colours_and_the_other_way_round(tmp_path: Path) -> None:
    same = np.repeat(GREY, 3, axis=3)
    assert measured(tmp_path, GREY, same, "psnr")["psnr"] == 100
    assert measured(tmp_path, same, GREY, "psnr")["psnr"] == 100
    with pytest.raises(UserError, match="3 channels, expected 1 as in reference"):
        measured(tmp_path, COLOURS, GREY, "psnr")


class Images(TensorDataset):
    """uint8 images one by one, as torch-fidelity takes them: [3, H, W]."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__(torch.from_numpy(images.transpose(0, 3, 1, 2)).expand(-1, 3, -1, -1))

    def __getitem__(self, index: int) -> torch.Tensor:
        image: torch.Tensor = super().__getitem__(index)[0]
        return image


@pytest.mark.parametrize("extractor", ["fashion-mnist-cnn", "efficientnet-lite0"])
def test_the_numbers_are_torch_fidelity_s_own(extractor: str, tmp_path: Path) -> None:
    """FID over 1280 features would take thousands of images; the small classifier has 64."""
    from torch_fidelity import calculate_metrics

    register(extractor)
    small = extractor == "fashion-mnist-cnn"
    own, others = (NOISY, GREY) if small else (NOISY[:10], GREY[:10])
    expected = calculate_metrics(
        input1=Images(own),
        input2=Images(others),
        fid=small,
        kid=True,
        prc=True,
        kid_subset_size=8,
        kid_subsets=5,
        rng_seed=0,
        feature_extractor=extractor,
        cuda=False,
        verbose=False,
        cache=False,
        save_cpu_ram=True,
    )
    settings = {"extractor": extractor, "resize": 224, "kid.subset_size": 8, "kid.subsets": 5}
    names = [*(["gfid", "rfid"] if small else []), "kid", "precision-recall"]
    found = measured(tmp_path, own, others, *names, settings=settings)
    if small:
        fid = expected["frechet_inception_distance"]
        assert found["gfid"] == pytest.approx(fid, rel=1e-6)
        assert found["rfid"] == found["gfid"]
    kid = 1000 * expected["kernel_inception_distance_mean"]
    assert found["kid"] == pytest.approx(kid, rel=1e-6)
    assert found["precision"] == pytest.approx(expected["precision"], abs=1e-6)
    assert found["recall"] == pytest.approx(expected["recall"], abs=1e-6)


def test_statistics_alone_serve_the_distance_and_nothing_else(tmp_path: Path) -> None:
    from prologue_plugins.metrics.features import extract_features
    from prologue_plugins.metrics.settings import FidSettings

    own = FidSettings(extractor="fashion-mnist-cnn")
    planes = GREY.transpose(0, 3, 1, 2)
    features = extract_features(planes, own, torch.device("cpu"), lambda done, total: None)
    features = features.astype(np.float64)
    batch = npz(tmp_path / "batch.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    found = measured(tmp_path, NOISY, batch, settings=CNN)
    expected = measured(tmp_path, NOISY, GREY, "gfid", settings=CNN)
    assert found["gfid"] == pytest.approx(expected["gfid"], rel=1e-6)
    assert found.records[0].protocol.details["reference"] == "batch.npz"
    assert any("precision-recall is left out: " in note for note in found.notes)
    with pytest.raises(UserError, match="found mu and sigma, expected images for this metric"):
        measured(tmp_path, NOISY, batch, "kid", settings=CNN)
    with pytest.raises(UserError, match="mu and sigma alone, expected the image of each recons"):
        measured(tmp_path, NOISY, batch, "psnr")


def test_a_data_set_s_test_images_are_the_reference_with_the_protocol_of_ablations(
    tmp_path: Path,
) -> None:
    shapes = {"data.test_images": 70, "data.size": 28, "resize": 32}
    found = measured(tmp_path, COLOURS, "shapes", "precision-recall", settings=shapes)
    details = found.records[0].protocol.details
    assert details["reference"] == "test split, 70 images"
    assert "classes that are not known" in found.records[0].protocol.note
    assert found.reference == "shapes"


def test_the_result_shows_itself(tmp_path: Path) -> None:
    found = measured(tmp_path, NOISY, GREY, "psnr", "ssim")
    assert isinstance(found, ImageMeasurements)
    table = found.frame()
    assert table["name"].tolist() == ["psnr", "ssim"]
    assert table["value"].tolist() == [found["psnr"], found["ssim"]]
    html = found._repr_html_()
    assert html.count("<tr>") == 3
    assert "PSNR (dB)" in html
    assert "data range 255" in html
    with pytest.raises(KeyError, match="did you mean 'psnr'"):
        found["psrn"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda at: at / "none" / "x", "there is no such file or folder"),
        (lambda at: folder(at / "empty", {"a.txt": b""}), r"found 1 \.txt, expected images"),
        (lambda at: folder(at / "tiffs", {"a.tif": b"", "b.TIF": b""}), r"found 2 \.tif, expected"),
        (lambda at: folder(at / "bad", {"a.png": b"no image"}), r"a\.png cannot be read \(not an"),
        (
            lambda at: folder(at / "sizes", files(GREY[:1]) | files(GREY[:1, :9], place="b")),
            r"b\.png has 28 x 9 pixels and 0\.png 28 x 28, .*--size 256",
        ),
        (
            lambda at: folder(
                at / "splits", files(GREY[:1], place="train/{}") | files(GREY[:1], place="val/{}")
            ),
            r"found train/ and val/, expected images of one split; name .*val",
        ),
        (
            lambda at: zipped(at / "cut.zip", {"a.png": b"1"}).rename(at / "cut.npz"),
            "expected uint8",
        ),
        (lambda at: folder(at, {"no.zip": b"PK"}) / "no.zip", "not a complete zip file"),
        (lambda at: tarred(at / "a.tar", files(GREY[:1]), "w:gz"), "without compression: .*unpack"),
        (
            lambda at: folder(at, {"a.tar.gz": b""}) / "a.tar.gz",
            r"found \.gz, expected .*unpack it",
        ),
        (
            lambda at: tarred(at / "b.tar", files(GREY[:1]) | {"9.cls": b"1"}),
            r"0\.cls: found no such",
        ),
        (
            lambda at: npz(at / "o.npz", arr_0=np.array([{}, 1], dtype=object)),
            r"found arr_0 of object \[2\], expected uint8 \[N, H, W, C\]",
        ),
        (lambda at: npz(at / "f.npz", arr_0=GREY / 255), "found arr_0 of float64"),
        (lambda at: npz(at / "c.npz", arr_0=blobs(channels=4)), "with 1 or 3 channels"),
        (lambda at: npz(at / "n.npz", other=GREY), "found other, expected uint8"),
        (
            lambda at: npz(at / "l.npz", arr_0=GREY, arr_1=np.arange(3)),
            r"found arr_1 of int64 \[3\]",
        ),
        (lambda at: npz(at / "e.npz", arr_0=GREY[:0]), r"found no images in arr_0"),
    ],
)
def test_what_is_wrong_with_images_is_one_line(
    make: Callable[[Path], Path], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says) as error:
        measured(tmp_path, str(make(tmp_path)), GREY, "psnr")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"metrics": ["rate"]}, "metric 'rate' needs likelihood, tokens|'rate' needs .*no model"),
        ({"metrics": ["gfdi"]}, "unknown metric 'gfdi'; did you mean 'gfid'"),
        ({"metrics": ["psnr", "psnr"]}, "found 'psnr' twice"),
        ({"metrics": ["gfid"]}, "found 70 images for 1280 features"),
        ({"metrics": ["kid"], "settings": CNN}, "expected at least subset_size 1000"),
        ({"metrics": ["psnr"], "settings": {"size": 3}}, "size: no such setting of psnr"),
        ({"metrics": ["psnr"], "settings": {"kid.seed": 3}}, "kid.seed: 'kid' is none of the"),
        ({"metrics": ["rfid"], "settings": {**CNN, "images": 9}}, "expected a limit instead"),
        (
            {"metrics": ["psnr"], "limit": 0},
            "limit: found 0 .int., expected a whole number from 1 on",
        ),
        (
            {"metrics": ["psnr"], "limit": 2.5},
            "limit: found 2.5 .float., expected a whole number from",
        ),
        ({"metrics": ["psnr"], "reference": GREY[:9]}, "reconstruction of each of the 9 of refer"),
        ({"metrics": ["psnr"], "reference": "fashin-mnist"}, "did you mean 'fashion-mnist'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    given: dict[str, Any], says: str, tmp_path: Path
) -> None:
    values = {"reference": GREY, **given}
    with pytest.raises(PrologueBenchError, match=says):
        measured(tmp_path, NOISY, values.pop("reference"), *values.pop("metrics"), **values)


def test_images_without_a_partner_are_named(tmp_path: Path) -> None:
    own = folder(tmp_path / "a", files(NOISY[:3], place="x{}"))
    others = folder(tmp_path / "b", files(GREY[:3], place="y{}"))
    with pytest.raises(UserError, match=r"3 of .*a without a partner, such as x0 and 3 of .*b "):
        measured(tmp_path, own, others, "psnr")
    with pytest.raises(UserError, match=r"found the name x0; reference has no names to pair with"):
        measured(tmp_path, own, GREY[:3], "psnr")


def test_two_files_of_one_name_are_named_with_where_they_lie(tmp_path: Path) -> None:
    own = folder(tmp_path / "a", files(NOISY[:2], place="x{}"))
    others = folder(tmp_path / "b", files(GREY[:2], place="x{}"))
    for name, twice in (("a", own), ("b", others)):
        (copy := twice / "x1.jpg").write_bytes((twice / "x1.png").read_bytes())
        message = rf"{name}: found two files x1, endings aside, expected each image once"
        with pytest.raises(UserError, match=message):
            measured(tmp_path, own, others, "psnr")
        copy.unlink()


def test_no_images_are_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no images in arr_0, expected at least one"):
        measured(tmp_path, npz(tmp_path / "none.npz", arr_0=NOISY[:0]), GREY, "psnr")
    with pytest.raises(UserError, match="found no images, expected at least one"):
        measured(tmp_path, NOISY[:0], GREY, "psnr")


def test_one_image_can_be_compared_and_has_no_distance(tmp_path: Path) -> None:
    assert measured(tmp_path, NOISY[:1], GREY[:1], "psnr").records[0].count == 1
    with pytest.raises(UserError, match="found 1 images, all with the same features"):
        measured(tmp_path, NOISY[:1], GREY, "gfid", settings=CNN)


def test_the_command_prints_numbers_with_their_protocols(tmp_path: Path) -> None:
    own, others = npz(tmp_path / "a.npz", arr_0=NOISY), npz(tmp_path / "b.npz", arr_0=GREY)
    words = ["measure", str(own), "--against", str(others), "--store", str(tmp_path / "store")]
    words += ["--metrics", "gfid, psnr", "--set", "extractor=fashion-mnist-cnn"]
    shown = CliRunner().invoke(cli, words)
    assert shown.exit_code == 0, shown.output
    assert "gFD (Fashion-MNIST CNN)" in shown.output
    assert "is not comparable with published FID" in shown.output
    found = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)
    assert [each["name"] for each in found["measurements"]] == ["gfid", "psnr"]
    for each in found["measurements"]:
        assert f"{each['protocol_hash']}: {each['protocol']['name']}" in shown.output
