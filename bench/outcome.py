"""The results as one table, as the table of targets, and as plots."""
import json
import statistics

median = statistics.median
PEER, SIDECAR = "peer", "tulle sidecar"


def compared(pairs, ours):
    """{peer: that pair of ours which it is compared with}: the named peer with ours in the very same set-up."""
    own = {p: SIDECAR if p == PEER else ours for p in pairs if p not in (ours, SIDECAR)}
    return {p: o for p, o in own.items() if o in pairs}


def paired(rounds, base, figure):
    """Median of the ratios within a round; None where one of the two has no such figure."""
    ratios = [r / b for r, b in zip(map(figure, rounds), map(figure, base)) if r is not None and b]
    return median(ratios) if ratios else None


class Line:
    """One line of the table: a value per pair, and ratios to the peers."""

    def __init__(self, row, measure, values, ratios, digits):
        self.row, self.measure, self.values, self.ratios, self.digits = row, measure, values, ratios, digits

    def text(self, value):
        return "–" if value is None else f"{value:,.{self.digits}f}"


def rounds_line(row, measure, rounds, figure, digits, ours):
    values, ratios = {}, {}
    for pair, results in rounds.items():
        found = [v for v in map(figure, results) if v is not None]
        values[pair] = median(found) if found else None
    for pair, own in compared(rounds, ours).items():
        ratios[pair] = paired(rounds[own], rounds[pair], figure)
    return Line(row, measure, values, ratios, digits)


def added_line(row, key, rounds, ours):
    """Latency over that of no proxy in the same round."""
    direct = rounds.get("none", [])
    each = {pair: [r[key] - d[key] for r, d in zip(results, direct)] for pair, results in rounds.items() if pair != "none"}
    values = {pair: median(v) if v else None for pair, v in each.items()}
    ratios = {pair: median([o / p for o, p in zip(each[own], each[pair]) if p > 0] or [0]) or None for pair, own in compared(each, ours).items()}
    return Line(row, f"added {key.removesuffix('_us')}, µs", values, ratios, 0)


def row_lines(row, rounds, ours):
    """What is told of a row of rows.py."""
    if row.what == "push":
        out = [("CPU per proxy, s per Gbit", lambda r: r["cpu"], 3), ("– outbound", lambda r: each(r, 0), 3),
               ("– inbound", lambda r: each(r, 1), 3), ("Gbit/s", lambda r: r["gbit_s"], 2)]
    elif row.what.startswith("connect"):
        out = [("CPU per proxy, µs", lambda r: r["cpu"], 0), ("– outbound", lambda r: each(r, 0), 0),
               ("– inbound", lambda r: each(r, 1), 0), ("connections/s", lambda r: r["rate"], 0)]
    else:
        out = [("CPU per proxy, µs (= ms per 1,000)", lambda r: r["cpu"], 1), ("– outbound", lambda r: each(r, 0), 1),
               ("– inbound", lambda r: each(r, 1), 1)]
        out += [(key.removesuffix("_us") + ", µs", lambda r, k=key: r[k], 0) for key in ("p50_us", "p99_us", "p999_us")]
        out += [] if row.rate else [("requests/s", lambda r: r["rate"], 0)]
    lines = [rounds_line(row.name, measure, rounds, figure, digits, ours) for measure, figure, digits in out]
    if row.rate:
        lines += [added_line(row.name, key, rounds, ours) for key in ("p50_us", "p99_us", "p999_us")]
    return lines


def each(result, number):
    return result["cpu_each"][number] if len(result["cpu_each"]) > number else None


def memory_lines(memory, ours):
    lines = []
    for what in dict.fromkeys(w for values in memory.values() for w in values):
        for number, kind in enumerate(("resident", "private")):
            values = {pair: max(m[number] for m in found[what]) for pair, found in memory.items() if what in found}
            ratios = {p: values[own] / values[p] for p, own in compared(values, ours).items() if values[p]}
            lines.append(Line("memory, " + what, f"{kind}, MB (the larger proxy)", values, ratios, 1))
    return lines


def start_line(starts, ours):
    values = {pair: median(found) for pair, found in starts.items()}
    return Line("start to ready", "ms", values, {p: values[own] / values[p] for p, own in compared(values, ours).items()}, 1)


def table(lines, pairs, ours):
    peers = {p: own for p, own in compared(pairs, ours).items() if p != "none"}
    out = ["| " + " | ".join(["row", "figure", *pairs, *(f"{own} ÷ {p}" for p, own in peers.items())]) + " |",
           "|---|---|" + "---:|" * (len(pairs) + len(peers))]
    last = None
    for line in lines:
        cells = [line.text(line.values.get(p)) for p in pairs]
        cells += ["–" if line.ratios.get(p) is None else f"{line.ratios[p]:.2f}" for p in peers]
        out.append(f"| {line.row if line.row != last else ''} | {line.measure} | " + " | ".join(cells) + " |")
        last = line.row
    return "\n".join(out)


def find(lines, row, measure):
    return next((line for line in lines if line.row == row and line.measure.startswith(measure)), None)


# (what, row, figure, [(peer or None for an absolute bound, bound), …]); "every peer" is each that was measured.
TARGETS = [
    ("CPU per request, 2,000/s", "HTTP/1.1 1 KiB, 2,000/s", "CPU per proxy", [("envoy", 0.45), ("haproxy", 0.75), (PEER, 0.6)]),
    ("CPU per request, saturated", "HTTP/1.1 1 KiB, saturated", "CPU per proxy", [("envoy", 0.40), ("haproxy", 1.0)]),
    ("latency added at 2,000/s, p50", "HTTP/1.1 1 KiB, 2,000/s", "added p50", [("envoy", 0.5)]),
    ("latency at 2,000/s, p99", "HTTP/1.1 1 KiB, 2,000/s", "p99", [("every peer", 1.0)]),
    ("CPU per request, 100 KiB bodies, saturated", "HTTP/1.1 100 KiB, saturated", "CPU per proxy", [("every peer", 1.0)]),
    ("CPU of a new mTLS connection, full, µs", "new connections, full handshake", "CPU per proxy", [(None, 380)]),
    ("CPU of a new mTLS connection, resumed, µs", "new connections, resumed", "CPU per proxy", [(None, 250)]),
    ("start to ready, ms", "start to ready", "ms", [(None, 15)]),
    ("opaque TCP, one stream, CPU per bit, outbound", "opaque TCP, 1 stream", "– outbound", [("every peer", 1.0)]),
    ("opaque TCP, one stream, CPU per bit, inbound", "opaque TCP, 1 stream", "– inbound", [("every peer", 1.0)]),
    ("memory idle, resident, MB", "memory, idle", "resident", [(None, 8)]),
    ("memory idle, private, MB", "memory, idle", "private", [(None, 3)]),
    ("memory with 1,000 opaque connections, MB", "memory, 1,000 idle connections", "resident", [(None, 30)]),
]


def targets(lines, pairs, ours):
    out = ["| target | bound | measured | |", "|---|---|---:|---|"]
    for what, row, figure, bounds in TARGETS:
        line = find(lines, row, figure)
        for peer, bound in bounds:
            for one in [p for p in compared(pairs, ours) if p != "none"] if peer == "every peer" else [peer]:
                if one == PEER and one not in pairs:
                    continue  # only where a binary was named
                if one and one not in pairs:
                    out.append(f"| {what} | ≤ {bound:g} × {one} | – | not measured: no {one} here |")
                    continue
                value = None if line is None else line.ratios.get(one) if one else line.values.get(ours)
                if value is None:
                    if line is None or one in line.values or not one:
                        out.append(f"| {what} | ≤ {bound:g}{f' × {one}' if one else ''} | – | not measured |")
                    continue
                said = f"{value:.2f} ×" if one else f"{value:,.1f}"
                verdict = "reached" if value <= bound else f"**not reached** ({value / bound:.2f} of the bound)"
                out.append(f"| {what} | ≤ {bound:g}{f' × {one}' if one else ''} | {said} | {verdict} |")
    return "\n".join(out)


COLOURS = {"none": "#bbb", "envoy": "#ac4fc6", "haproxy": "#3b7dc0", "nginx": "#2f9e57", "tulle": "#d9480f", SIDECAR: "#f08c4a", PEER: "#8a6d3b"}


def plot(title, unit, groups, pairs):
    """Grouped bars as SVG. `groups`: [(label, {pair: value})]; each group has its own scale, for they differ by orders."""
    bar, gap, left, width = 15, 26, 16, 760
    out, y = [], 58
    for label, values in groups:
        shown = [(p, values[p]) for p in pairs if values.get(p) is not None]
        top = max((v for _, v in shown), default=0) or 1
        out.append(f'<text x="{left}" y="{y}" font-weight="600">{label}</text>')
        y += 7
        for pair, value in shown:
            length = max(1.0, (width - 300) * value / top)
            out.append(f'<text x="{left + 70}" y="{y + 12}" text-anchor="end">{pair}</text>')
            out.append(f'<rect x="{left + 80}" y="{y + 2}" width="{length:.1f}" height="{bar - 3}" fill="{COLOURS.get(pair, "#666")}"/>')
            out.append(f'<text x="{left + 86 + length:.1f}" y="{y + 12}">{value:,.3g}</text>' if value < 1000
                       else f'<text x="{left + 86 + length:.1f}" y="{y + 12}">{value:,.0f}</text>')
            y += bar
        y += gap
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" '
            'font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
            f'<text x="{left}" y="26" font-size="16" font-weight="600">{title}</text><text x="{width - left}" y="26" text-anchor="end" fill="#666">{unit}</text>')
    return head + "\n" + "\n".join(out) + "\n</svg>\n"


# file: (title, unit, what a line must have in its figure, words of its row)
PLOTS = {
    "cpu": ("CPU per request and proxy", "µs, less is better", "CPU per proxy, µs (", ("HTTP", "gRPC")),
    "latency-p50": ("Latency from the intended start, p50", "µs, less is better", "p50", ("/s",)),
    "latency-p99": ("Latency from the intended start, p99", "µs, less is better", "p99,", ("/s",)),
    "rate": ("Most requests per second of the pair, both proxies on one CPU", "more is better", "requests/s", ("",)),
    "tcp": ("Opaque TCP: CPU per Gbit and proxy", "s, less is better", "CPU per proxy, s", ("opaque",)),
    "connections": ("New mTLS connections: CPU each and proxy", "µs, less is better", "CPU per proxy, µs", ("new connections",)),
    "memory": ("Resident memory of the larger proxy", "MB, less is better", "resident", ("memory",)),
    "start": ("Start to ready", "ms, less is better", "ms", ("start",)),
    "scaling": ("Scaling", "see the labels", "", ("scaling",)),
}


def write_plots(folder, lines, pairs):
    for file, (title, unit, figure, words) in PLOTS.items():
        groups = [(line.row if file != "scaling" else f"{line.row}: {line.measure}", line.values) for line in lines
                  if line.measure.startswith(figure) and any(w in line.row for w in words) and ("saturated" not in line.row or "latency" not in file)]
        shown = list(pairs) + [p for _, values in groups for p in values if p not in pairs]
        if groups:
            (folder / f"{file}.svg").write_text(plot(title, unit, groups, dict.fromkeys(shown)))


def markdown(command, machine, versions, lines, scaling, counted, pairs, ours, notes):
    told = ", ".join(f"{k}: {'yes' if v is True else 'no' if v is False else v}" for k, v in machine.items())
    parts = ["# Results", f"Written by `{command}`. What the rows are: [README](../README.md).\n\nMachine: {told}.",
             "Compared: " + "; ".join(f"{k} {v}".strip() for k, v in versions.items()) + "."]
    if notes:
        parts += ["## Not measured", "\n".join(f"- {n}" for n in notes)]
    parts += ["## Targets", targets(lines, pairs, ours), "## All rows",
              "Medians over the rounds; ratios are medians of the ratios within a round.", table(lines, pairs, ours)]
    if scaling:
        parts += ["## Scaling", scaling_table(scaling)]
    if counted:
        parts += ["## Counts of ours", "Per request, one at a time, each instruction of the worker counted.", counts_table(counted)]
    return "\n\n".join(parts) + "\n"


def scaling_table(scaling):
    out = ["| what grows | figure | " + "small | large | ratio |", "|---|---|---:|---:|---:|"]
    for line in scaling:
        small, large = line.values.values()
        names = list(line.values)
        out.append(f"| {line.row.removeprefix('scaling, ')}: {names[0]} → {names[1]} | {line.measure} | {line.text(small)} | {line.text(large)} | {large / small:.2f} |" if small else
                   f"| {line.row} | {line.measure} | – | – | – |")
    return "\n".join(out)


def counts_table(counted):
    sides = list(counted)
    out = ["| per request | " + " | ".join(sides) + " |", "|---|" + "---:|" * len(sides)]
    for what, of in (("system calls", lambda c: sum(c["syscalls"].values())), ("allocations", lambda c: c["allocations"]),
                     ("user instructions", lambda c: sum(c["instructions"].values()))):
        out.append(f"| {what} | " + " | ".join(f"{of(counted[s]):,g}" if what != "user instructions" else f"{of(counted[s]):,}" for s in sides) + " |")
    for stage in dict.fromkeys(stage for s in sides for stage in counted[s]["instructions"]):
        out.append(f"| – {stage} | " + " | ".join(f"{counted[s]['instructions'].get(stage, 0):,}" for s in sides) + " |")
    return "\n".join(out)


def as_json(machine, versions, results, lines, notes):
    return json.dumps({"machine": machine, "versions": versions, "not measured": notes,
                       "lines": [{"row": x.row, "figure": x.measure, "values": x.values, "ratios": x.ratios} for x in lines],
                       "rounds": results}, indent=1, ensure_ascii=False) + "\n"
