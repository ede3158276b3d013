"""What the documentation says is true: its links lead somewhere, and its commands, flags and settings exist."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [p for p in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench/README.md", *sorted((ROOT / "docs").glob("**/*.md"))] if p.exists()]
BIN = pathlib.Path(os.environ.get("TULLE_BIN", ROOT / "build/dev/bin"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMES = [str(p.relative_to(ROOT)) if p.parent.name == "bench" else p.name for p in PAGES]


def anchors(path):
    """The ids that a heading gets on the usual forges."""
    heads = re.findall(r"^#+\s+(.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"`", "", h).lower()).strip().replace(" ", "-") for h in heads}


def commands(text):
    """Lines of fenced shell blocks and code spans that call one of our programs."""
    for block in re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", text, re.M | re.S):
        yield from (line.lstrip("$ ").strip() for line in block.replace("\\\n", " ").splitlines())
    yield from re.findall(r"`((?:tulle|\./dev) [^`]+)`", text)


def test_there_are_pages():
    assert {"README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "configuration.md"} <= set(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    wrong = []
    for target in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            wrong.append(f"{target}: no such file")
        elif m := re.fullmatch(r"L(\d+)(?:-L(\d+))?", anchor):
            if int(m.group(2) or m.group(1)) > len(file.read_text().splitlines()):
                wrong.append(f"{target}: the file is shorter")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            wrong.append(f"{target}: no such heading")
    assert not wrong, wrong


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_paths_in_the_text_exist(page):
    spans = re.findall(r"`((?:libs|proxy|control|cli|tests|bench|fuzz|docs|examples|proto|cmake)/[\w./-]+)`", page.read_text())
    wrong = [s for s in spans if not (ROOT / s).exists() and not list(ROOT.glob(s + ".*"))]
    assert not wrong, f"named but not there: {wrong}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_verbs_of_dev_exist(page):
    known = set(re.findall(r"^  (\w[\w |]*)\)", (ROOT / "dev").read_text(), re.M))
    known = {word for group in known for word in re.split(r"\W+", group)}
    used = {c.split()[1] for c in commands(page.read_text()) if c.startswith("./dev ") and c.split()[1] != "#"}
    assert used <= known, f"unknown: {used - known}"


HELP = {}


def help_of(command):
    if command not in HELP:
        done = subprocess.run([BIN / "tulle", *command.split(), "--help"], text=True, capture_output=True, timeout=20)
        HELP[command] = done.stdout if done.returncode == 0 else None
    return HELP[command]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_of_tulle_exist(page):
    wrong = []
    for line in commands(page.read_text()):
        if not line.startswith("tulle "):
            continue
        words = line.split(" -- ")[0].split()[1:]
        command = words[0] if words and re.fullmatch(r"[a-z]+", words[0]) else ""
        text = help_of(command)
        if text is None:
            wrong.append(f"{line}: no such command")
            continue
        wrong += [f"{line}: no flag {w}" for w in (x.split("=")[0] for x in words) if w.startswith("-") and not re.search(re.escape(w) + r"\b", text)]
    assert not wrong, wrong


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_exist(page):
    names = set(re.findall(r"\b(?:LINKERD2_PROXY|TULLE)_[A-Z0-9_]*[A-Z0-9]\b", page.read_text()))
    code = "".join(p.read_text(errors="replace") for d in ("libs", "proxy", "control", "cli", "tests", "bench", "cmake", "examples")
                   for p in (ROOT / d).rglob("*") if p.suffix in (".cc", ".h", ".py", ".cmake", ".sh")) + (ROOT / "dev").read_text()
    wrong = [n for n in names if n not in code and n.removeprefix("LINKERD2_PROXY_").removeprefix("TULLE_PROXY_") not in code]
    assert not wrong, f"named but read nowhere: {wrong}"


def defaults(header, struct):
    """Field → default, as numbers, of a struct of options."""
    text = re.search(rf"^struct {struct} \{{\n(.*?)^\}};", (ROOT / header).read_text(), re.M | re.S)[1]
    found = re.findall(r"^  (?:uint32_t|Duration) (\w+) = ([\d' *s]+);", text, re.M)
    return {name: eval(value.replace("'", "").replace("s", "")) for name, value in found}  # only digits, * and blanks


def test_limits_are_those_of_the_code():
    text = (ROOT / "docs/limits.md").read_text()
    said = {m[1]: int(m[2]) for m in re.finditer(r"^\| `(\w+::\w+)` \| (\d+)s? \|", text, re.M)}
    code = {}
    for header, struct in (("libs/http/limits.h", "Limits"), ("libs/http/h2.h", "H2Options"), ("libs/httpio/server.h", "ServeOptions")):
        code |= {f"{struct}::{name}": value for name, value in defaults(header, struct).items()}
    assert len(code) > 20 and said == code


def test_limits_of_peers_and_of_the_process_are_those_of_the_code():
    text = (ROOT / "docs/limits.md").read_text()
    number = {k: int(v.replace("'", "")) for k, v in re.findall(r"^  (?:size_t|static constexpr size_t|inline constexpr size_t) (\w+) = ([\d']+);", "".join(
        (ROOT / p).read_text() for p in ("proxy/config/config.h", "libs/tls/sessions.h")), re.M)}
    process = dict(re.findall(r"^\| ([\w ]+) \| ([\d,]+)", text.partition("## The process")[2], re.M))
    wanted = {"connections": number["max_connections"], "requests": number["max_in_flight"], "requests that wait for an endpoint": number["http_queue_capacity"],
              "remembered targets": number["max_targets"], "TLS sessions to resume": number["kMax"]}
    assert {k: int(v.replace(",", "")) for k, v in process.items() if k in wanted} == wanted
    generous = re.search(r"^void be_generous\(.*?^\}", (ROOT / "proxy/worker/worker.cc").read_text(), re.M | re.S)[0]
    code = {k: eval(v.replace("'", "")) for k, v in re.findall(r"o\.(\w+) = ([\d' *]+);", generous)}  # only digits, * and blanks
    said = {k: int(v) for k, v in re.findall(r"^\| `(\w+)` \| (\d+)", text.partition("| limit | of a peer |")[2], re.M)}
    assert len(code) == 5 and said == code
