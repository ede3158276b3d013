"""Draws the demo's table from figures; knows nothing of where they come from."""

BOLD, DIM, RED, GREEN, OFF = "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m"
COLUMNS = [("edge", 22), ("success", 8), ("req/s", 7), ("p50 ms", 8), ("p95 ms", 8), ("p99 ms", 8), ("mTLS", 6)]
BASELINE = [("success", 8), ("p50 ms", 8), ("p99 ms", 8), ("encrypted", 10)]


def number(value, digits=1):
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value):
    return "–" if value is None else "100 %" if value == 1 else f"{min(value, 0.9999) * 100:.2f} %"


def cell(text, width):
    return f"{text:>{width}}"


def line(first, cells, widths):
    return f"{first:<22}" + "".join(cell(c, w) for c, w in zip(cells, widths))


def table(figures, instances, mtls, baseline, slow, colour=True):
    """Lines of text. `figures`, `baseline`: {edge: Figures}; `instances`: {name: Figures}; `mtls`: {edge: True, False
    or None when not known}; `slow`: names of instances that are slow now."""
    paint = (lambda code, text: f"{code}{text}{OFF}") if colour else (lambda _code, text: text)
    widths = [w for _, w in COLUMNS[1:]] + ([w for _, w in BASELINE] if baseline else [])
    head = line("edge", [n for n, _ in COLUMNS[1:]] + ([n for n, _ in BASELINE] if baseline else []), widths)
    out = []
    if baseline:
        out.append(paint(DIM, " " * 22 + f"{'in the mesh':^45}" + f"{'without it':^34}"))
    out.append(paint(BOLD, head))
    total = sum(f.count for f in instances.values())
    for edge, f in figures.items():
        word = {True: "yes", False: "NO", None: "–"}[mtls.get(edge)]
        cells = [percent(f.success), number(f.rate), number(f.at(.5)), number(f.at(.95)), number(f.at(.99)), word]
        if baseline:
            b = baseline[edge]
            cells += [percent(b.success), number(b.at(.5)), number(b.at(.99)), "no"]
        text = line(f"{edge[0]} → {edge[1]}", cells, widths)
        good = (f.success == 1 or f.success is None) and mtls.get(edge) is not False
        out.append(text if good else paint(RED, text))
        if edge[1] == "api":
            for name, i in instances.items():
                mark = " slow" if name in slow else ""
                cells = [percent(i.success), number(i.rate), number(i.at(.5)), number(i.at(.95)), number(i.at(.99)), ""]
                text = line(f"  {name}{mark}", cells, widths) + f"  {100 * i.count / total:.0f} % of api"
                out.append(paint(RED, text) if mark else paint(DIM, text))
    return out


def cost(figures, baseline):
    """One honest line on what the mesh costs end to end."""
    edge = ("load", "web")
    parts = []
    for name, share in (("p50", .5), ("p99", .99)):
        with_mesh, without = figures[edge].at(share), baseline[edge].at(share)
        if with_mesh is not None and without is not None:
            more = with_mesh - without
            parts.append(f"{name} {abs(more):.1f} ms {'slower' if more > 0 else 'faster'}")
    return ("The whole path (up to 3 hops, 6 proxies) is " + ", ".join(parts) + " in the mesh; "
            "each row is as its caller saw it, instances end to end.") if parts else ""
