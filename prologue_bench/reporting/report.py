"""The report: HTML that opens from disk, with the results as JSON, CSV, Markdown and LaTeX beside it.

With pyarrow installed (the extra `parquet`) there is a results.parquet too.
"""

from __future__ import annotations

import base64
import importlib.util
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from attrs import frozen
from markupsafe import Markup

from prologue_bench.durations import duration
from prologue_bench.files import write_text
from prologue_bench.reporting import plots
from prologue_bench.reporting.comparability import conflicts, protocol_hash
from prologue_bench.reporting.formatting import environment, escape_markdown, number, plain, short, signed
from prologue_bench.reporting.pictures import Pictures
from prologue_bench.reporting.plots import Spec
from prologue_bench.reporting.results import RESULTS, flat_settings, frame
from prologue_bench.reporting.statistics import Cell, summarise

REPORT = "report.html"
ARROWS = {"lower": "↓", "higher": "↑", "neutral": ""}
CURVE_TITLES = {
    "loss_l1": "Reconstruction, L1",
    "loss_l2": "Reconstruction, L2",
    "loss_vq": "Codebook",
    "loss_ce": "Cross-entropy, nats/token",
}


@frozen
class MetricInfo:
    """How a metric is shown."""

    name: str
    title: str
    unit: str
    direction: str
    detail: bool = False

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return ARROWS[self.direction]


def write_report(results: Mapping[str, Any], pictures: Pictures, folder: Path) -> Path:
    """Write all files of a report and return the HTML's path."""
    assets = folder / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    for old in assets.glob("*.png"):
        if old.stem not in pictures.files:
            old.unlink()
    for name, content in pictures.files.items():
        (assets / f"{name}.png").write_bytes(content)
    rows = frame(results)
    write_text(folder / RESULTS, json.dumps(results, separators=(",", ":")))
    write_text(folder / "results.csv", rows.to_csv(index=False))
    write_text(folder / "results.md", render_markdown(results))
    write_text(folder / "results.tex", render_latex(results))
    if importlib.util.find_spec("pyarrow") is not None:
        rows.to_parquet(folder / "results.parquet", index=False)
    write_text(folder / REPORT, render_html(results, pictures))
    return folder / REPORT


def load_pictures(folder: Path) -> Pictures:
    """The pictures of a written report."""
    return Pictures({path.stem: path.read_bytes() for path in sorted((folder / "assets").glob("*.png"))})


def render_html(results: Mapping[str, Any], pictures: Pictures) -> str:
    """The report as one HTML document without outside references."""
    rows = frame(results)
    cells = summarise(rows, results["baseline"])
    metrics = metric_infos(rows)
    main, detail = split_metrics(metrics, rows, results)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            results=results,
            cells=cells,
            main=main,
            detail=detail,
            findings=findings(cells, main, results),
            reading=reading(results, cells),
            plots=metric_plots(main, rows, results),
            detail_plots=metric_plots(detail, rows, results),
            tradeoffs=tradeoffs(rows, results),
            heat_maps=heat_maps(results),
            curves=curve_plots(results),
            has_prefixes=any(name.startswith("prefixes-") for name in pictures.files),
            pictures={name: _data_uri(content) for name, content in pictures.files.items()},
            failed=failed_runs(results),
            unfinished=unfinished_runs(results),
            reused=reused_runs(results),
            conflicts=conflicts(results),
            protocols=protocols(results),
            stages=stage_seconds(results),
            searches=searches(results),
            differences=setting_differences(results),
            duration=duration,
            comparable=comparable_pictures(results, pictures),
            library=Markup(plots.library()),
        )
    )


def render_markdown(results: Mapping[str, Any]) -> str:
    """The summary table in Markdown."""
    rows = frame(results)
    cells = summarise(rows, results["baseline"])
    main, _ = split_metrics(metric_infos(rows), rows, results)
    seeds = len(results["seeds"])
    if not main:
        return _no_measurements(results)
    lines = [
        f"# {results['title']}",
        "",
        f"Data {results['data']['name']}, profile {results['profile']}, {seeds} seed{'s' * (seeds > 1)}. "
        + reading(results, cells),
        "",
        "| variant | " + " | ".join(f"{i.title} {i.arrow}{f' ({i.unit})' if i.unit else ''}" for i in main) + " |",
        "| --- |" + " ---: |" * len(main),
    ]
    for variant in results["variants"]:
        shown = [_markdown_cell(cells.get(variant["name"], {}).get(info.name)) for info in main]
        name = f"{variant['name']} (baseline)" if variant["name"] == results["baseline"] else variant["name"]
        lines.append(f"| {escape_markdown(name)} | " + " | ".join(shown) + " |")
    for run in failed_runs(results):
        lines += ["", f"Failed: {run['variant']}, seed {run['seed']}: {run['reason']}"]
    if unfinished := unfinished_runs(results):
        lines += ["", f"Not finished yet: {'; '.join(unfinished)}."]
    for conflict in conflicts(results):
        lines += ["", conflict]
    for reference in results.get("references", []):
        lines += ["", *_published(reference)]
    return "\n".join(lines) + "\n"


LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
}


def render_latex(results: Mapping[str, Any]) -> str:
    """The summary table in LaTeX, for the package booktabs: means and standard deviations over seeds."""
    rows = frame(results)
    cells = summarise(rows, results["baseline"])
    main, _ = split_metrics(metric_infos(rows), rows, results)

    def cell(found: Cell | None) -> str:
        if found is None:
            return "--"
        spread = f" ± {short(found.spread)}" if found.spread is not None else ""
        return _latex(f"{number(found.mean)}{spread}") + ("$^*$" if found.verdict in ("better", "worse") else "")

    heads = [_latex(f"{info.title} {info.arrow}" + (f" ({info.unit})" if info.unit else "")) for info in main]
    body = [
        " & ".join([_latex(variant["name"]), *(cell(cells.get(variant["name"], {}).get(info.name)) for info in main)])
        for variant in results["variants"]
    ]
    return "\n".join(
        [
            f"% {results['name']}, {len(results['seeds'])} training seeds; * differs from the baseline beyond the "
            f"noise",
            rf"\begin{{tabular}}{{l{'r' * len(main)}}}",
            r"\toprule",
            " & ".join(["variant", *heads]) + r" \\",
            r"\midrule",
            *(row + r" \\" for row in body),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def _published(reference: Mapping[str, Any]) -> list[str]:
    """Published results as a Markdown table of their own."""
    return [
        f"Published, not measured here. {reference['summary']} {reference['source']}. "
        f"Protocol: {reference['protocol']}.",
        "",
        "| model | " + " | ".join(reference["columns"]) + " |",
        "| --- |" + " ---: |" * len(reference["columns"]),
        *(
            f"| {row['title']} (published) | "
            + " | ".join("–" if value is None else str(value) for value in row["values"])
            + " |"
            for row in reference["rows"].values()
        ),
    ]


def _no_measurements(results: Mapping[str, Any]) -> str:
    failed = [f"Failed: {run['variant']}, seed {run['seed']}: {run['reason']}" for run in failed_runs(results)]
    return (
        "\n\n".join([f"# {results['title']}", "No variant has measurements with a better direction.", *failed]) + "\n"
    )


def metric_infos(rows: pd.DataFrame) -> list[MetricInfo]:
    """The metrics of a frame in order of appearance."""
    firsts = rows.drop_duplicates("metric").to_dict("records")
    return [MetricInfo(row["metric"], row["title"], row["unit"], row["direction"], row["detail"]) for row in firsts]


def split_metrics(
    metrics: list[MetricInfo], rows: pd.DataFrame, results: Mapping[str, Any]
) -> tuple[list[MetricInfo], list[MetricInfo]]:
    """Those with a better direction that every variant has and that are no details, for the summary; and the rest."""
    variants = {run["variant"] for run in results["runs"] if run["measurements"]}
    everywhere = {info.name for info in metrics if set(rows[rows.metric == info.name].variant) == variants}
    main = [info for info in metrics if info.direction != "neutral" and info.name in everywhere and not info.detail]
    return main, [info for info in metrics if info not in main]


def findings(
    cells: Mapping[str, Mapping[str, Cell]], metrics: list[MetricInfo], results: Mapping[str, Any]
) -> list[str]:
    """What the table comes to: a sentence for each metric on which the best variant stands out, one for all others."""
    sentences, noise = [], []
    for info in metrics:
        known = {name: by_metric[info.name] for name, by_metric in cells.items() if info.name in by_metric}
        if not known:
            continue
        pick = min if info.direction == "lower" else max
        best = pick(known, key=lambda name: known[name].mean)
        found = known[best].difference
        if found is not None and known[best].verdict == "noise":
            noise.append(info.title)
            continue
        unit = f" {info.unit}" if info.unit else ""
        sentence = f"{info.title}: best with {best}, {number(known[best].mean)}{unit}"
        if found is not None:
            sentence += f", {signed(found.mean)} against {results['baseline']}"
        if found is not None and found.half_width is not None:
            over = found.basis if found.basis == "images" else f"{found.count} {found.basis}"
            sentence += f" (95% interval ± {short(found.half_width)} over {over})"
        sentences.append(sentence + ".")
    if noise:
        sentences.append(f"The best is not distinguishable from {results['baseline']}: {'; '.join(noise)}.")
    return sentences


def reading(results: Mapping[str, Any], cells: Mapping[str, Mapping[str, Cell]]) -> str:
    """How to read a cell of the summary: what is behind the mean and the difference."""
    bases = {cell.difference.basis for row in cells.values() for cell in row.values() if cell.difference}
    variants = len(results["variants"]) - 1
    corrected = f", corrected (Holm) for {variants} variants against one baseline" if variants > 1 else ""
    marked = (
        "Differences that the noise could have made (p ≥ 0.05" + corrected + ") are marked n.s."
        if bases - {""}
        else "Run with more seeds for intervals."
    )
    if "training seeds" in bases or len(results["seeds"]) > 1:
        return (
            f"Each cell: mean ± standard deviation over {len(results['seeds'])} training seeds; below or in "
            f"brackets the "
            f"difference from the baseline, paired by seed, with its 95% interval (Student's t). {marked}"
        )
    if "sampling seeds" in bases:
        return (
            "One training seed: means over sampling seeds, and below or in brackets the difference from the "
            "baseline with "
            f"its 95% interval over those, without the noise of training. {marked}"
        )
    return (
        "One seed: below or in brackets the difference from the baseline; its 95% interval, where there is one, is "
        "over "
        f"images alone (bootstrap), without the noise of training and sampling seeds. {marked}"
    )


def failed_runs(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Runs with a stage that failed: variant, seed, stage and reason."""
    failed = []
    for run in results["runs"]:
        if run["failures"]:
            stage, reason = next(iter(run["failures"].items()))
            failed.append({"variant": run["variant"], "seed": run["seed"], "stage": stage, "reason": reason})
    return failed


def unfinished_runs(results: Mapping[str, Any]) -> list[str]:
    """Variants with the training seeds of which stages are still missing."""
    seeds: dict[str, list[str]] = defaultdict(list)
    for run in results["runs"]:
        if run.get("unfinished") and not run["failures"]:
            seeds[run["variant"]].append(str(run["seed"]))
    return [f"{variant}, seed{'s' * (len(of) > 1)} {', '.join(of)}" for variant, of in seeds.items()]


def reused_runs(results: Mapping[str, Any]) -> dict[str, int]:
    """From which earlier results how many runs were taken."""
    origins = [run["reused"] for run in results["runs"] if run.get("reused")]
    return Counter(f"{origin['results']} of {origin['created'][:16].replace('T', ' ')} UTC" for origin in origins)


def protocols(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each protocol once, with the metrics measured by it."""
    found: dict[str, dict[str, Any]] = {}
    for run in results["runs"]:
        for measurement in run["measurements"]:
            protocol = measurement["protocol"]
            key = protocol_hash(protocol)
            entry = found.setdefault(key, {"hash": key, **protocol, "metrics": []})
            if measurement["name"] not in entry["metrics"]:
                entry["metrics"].append(measurement["name"])
    return list(found.values())


def stage_seconds(results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean wall time of each stage by variant, over seeds."""
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in results["runs"]:
        for stage in run["stages"]:
            seconds[stage["stage"]][run["variant"]].append(stage["seconds"])
    return {
        stage: {variant: sum(values) / len(values) for variant, values in by_variant.items()}
        for stage, by_variant in seconds.items()
    }


def setting_differences(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """The settings in which variants differ, one value a variant."""
    flat = [flat_settings(variant) for variant in results["variants"]]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    shown = {key: [plain(settings.get(key)) for settings in flat] for key in keys}
    return {key: values for key, values in shown.items() if len(set(values)) > 1}


def comparable_pictures(results: Mapping[str, Any], pictures: Pictures) -> list[tuple[str, str]]:
    """What can be laid over one another: the originals, and the reconstructions of each variant, by title."""
    names = {"originals": "originals"} | {
        variant["name"]: f"reconstructions-{index}" for index, variant in enumerate(results["variants"])
    }
    return [(title, name) for title, name in names.items() if name in pictures.files]


def curve_plots(results: Mapping[str, Any]) -> list[tuple[str, Spec]]:
    """Training curves: a plot for each loss of each training stage."""
    shown = []
    for kind, title in (("train-tokenizer", "Tokenizer"), ("train-generator", "Generator")):
        by_variant: dict[str, list[dict[str, list[float]]]] = {}
        for run in results["runs"]:
            if kind in run["curves"]:
                by_variant.setdefault(run["variant"], []).append(run["curves"][kind])
        losses = dict.fromkeys(
            name for runs in by_variant.values() for run in runs for name in run if name.startswith("loss_")
        )
        for loss in losses:
            label = f"{title}: {CURVE_TITLES.get(loss, loss.removeprefix('loss_'))}"
            shown.append((label, plots.curve_plot(by_variant, loss, label)))
    return shown


def metric_plots(
    metrics: list[MetricInfo], rows: pd.DataFrame, results: Mapping[str, Any]
) -> list[tuple[MetricInfo, Spec]]:
    """Each metric against what was varied."""
    return [
        (info, plots.metric_plot(rows[rows.metric == info.name], results["variants"], results["varied"]))
        for info in metrics
    ]


TRADEOFFS = (
    ("elbo_rate", "elbo_distortion", "Rate against distortion, the two terms of the -ELBO"),
    ("rfid", "gfid", "Reconstruction against generation"),
    ("training_flops", "gfid", "Cost against quality"),
)


def tradeoffs(rows: pd.DataFrame, results: Mapping[str, Any]) -> list[tuple[str, Spec]]:
    """Plots of one metric against another, those for which both were measured."""
    known = set(rows.metric)
    names = [variant["name"] for variant in results["variants"]]
    return [(title, plots.scatter_plot(rows, x, y, names, title)) for x, y, title in TRADEOFFS if {x, y} <= known]


def heat_maps(results: Mapping[str, Any]) -> list[tuple[str, Spec]]:
    """How many codes each token of each variant uses, by perplexity, as means over seeds on one scale a segment."""
    grids = {
        (variant["name"], segment["name"]): segment["grid"]
        for variant in results["variants"]
        for segment in variant["layout"]
    }
    found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for run in results["runs"]:
        for measurement in run["measurements"]:
            segment = measurement["name"].removeprefix("codebook_perplexity_position_")
            if measurement.get("positions") and segment != measurement["name"]:
                found[run["variant"], segment].append(measurement["positions"])
    means = {key: [sum(each) / len(each) for each in zip(*values, strict=True)] for key, values in found.items()}
    largest: dict[str, float] = defaultdict(float)
    for (_, segment), values in means.items():
        largest[segment] = max(largest[segment], *values)
    shown = []
    for (variant, segment), values in means.items():
        title, grid = f"{variant}, {segment}", grids.get((variant, segment))
        shown.append((title, plots.position_plot(title, values, grid, largest[segment], "codes")))
    return shown


def searches(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each point of the grid of sampling settings, its value for each variant, averaged over seeds.

    Beside each value stands in how many seeds the point was chosen. Empty where nothing was searched for.
    """
    table: dict[str, dict[str, Any]] = {}
    for run in results["runs"]:
        search = run.get("search")
        for each in search["points"] if search else ():
            label = ", ".join(f"{name.rpartition('.')[2]} {plain(value)}" for name, value in each["point"].items())
            row = table.setdefault(label, {"point": label, "metric": each["metric"], "values": {}, "chosen": {}})
            row["values"].setdefault(run["variant"], []).append(each["value"])
            chosen = row["chosen"].get(run["variant"], 0) + (each["point"] == search["chosen"])
            row["chosen"][run["variant"]] = chosen
    return [
        {**row, "values": {name: sum(values) / len(values) for name, values in row["values"].items()}}
        for row in table.values()
    ]


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = number(cell.mean) + (f" ± {short(cell.spread)}" if cell.spread is not None else "")
    if cell.difference is not None:
        width = cell.difference.half_width
        interval = f" ± {short(width)}" if width is not None else ""
        text += f" ({signed(cell.difference.mean)}{interval}{', n.s.' if cell.verdict == 'noise' else ''})"
    return text


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
