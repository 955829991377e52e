"""Writes docs/performance.md and its charts from the results of measure.py, and judges the bounds. `page.py FOLDER` writes them anew."""

import json
import statistics
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

BASE_CONNECTIONS = 16


@dataclass
class Spread:
    """A median, and the least and the greatest value that it is the median of."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values):
        return Spread(statistics.median(values), min(values), max(values)) if values else None


class Results:
    """What is asked of the results; None stands for what was not measured."""

    def __init__(self, results):
        self.raw = results
        self.contestants = results["contestants"]

    def _rounds(self, key, connections):
        return {load["round"]: load for load in self.raw["loads"] if load["contestant"] == key and load["connections"] == connections}

    def load(self, key, field, connections=BASE_CONNECTIONS):
        return Spread.of([load[field] for load in self._rounds(key, connections).values()])

    def ratio(self, key, other, field, connections=BASE_CONNECTIONS):
        """Of two contestants, round by round: they were measured shortly after each other."""
        ours, theirs = self._rounds(key, connections), self._rounds(other, connections)
        return Spread.of([ours[round_][field] / theirs[round_][field] for round_ in ours if round_ in theirs])

    def start(self, key):
        return Spread.of(self.raw["starts"].get(key, {}).get("ms"))

    def resident_at_start(self, key):
        return Spread.of(self.raw["starts"].get(key, {}).get("resident"))

    def memory(self, key, field):
        return self.raw["memory"].get(key, {}).get(field)

    def disk(self, key, field):
        return self.raw["disk"].get(key, {}).get(field)


# ------------------------------------------------------------------------------------------------------------------ bounds


@dataclass
class Bound:
    """What is wanted of one figure."""

    what: str
    value: Spread | None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""
    digits: int = 2

    @property
    def met(self):
        """None where it was not measured."""
        if self.value is None:
            return None
        return self.value.median <= self.at_most if self.at_least is None else self.value.median >= self.at_least

    def word(self):
        return {None: "not measured", True: "met", False: "NOT met"}[self.met]

    def shown(self):
        if self.value is None:
            return "–"
        text = f"{self.value.median:.{self.digits}f}"
        if self.value.low != self.value.high:
            text += f" ({self.value.low:.{self.digits}f}–{self.value.high:.{self.digits}f})"
        return text + self.unit

    def wanted(self):
        return f"≤ {self.at_most:g}{self.unit}" if self.at_least is None else f"≥ {self.at_least:g}{self.unit}"


def bounds(raw):
    """Each row of what was to be reached."""
    results = Results(raw)
    rate = lambda ours, theirs: results.ratio(ours, theirs, "rate")
    single = lambda value: None if value is None else Spread(value, value, value)
    tokens = raw["settings"]["tokens"]
    return [
        Bound("processor time per RS256 token ÷ the floor's with one RSA-2048 signature",
              results.ratio("service-rs256", "floor-rs256", "cost"), at_most=1.05, digits=3),
        Bound("processor time per ES256 token ÷ the floor's with one P-256 signature",
              results.ratio("service-es256", "floor-es256", "cost"), at_most=1.20, digits=3),
        Bound("tokens/s ÷ OpenIddict as documented with a database, RS256", rate("service-rs256", "openiddict-default-rs256"), at_least=25, digits=1),
        Bound("tokens/s ÷ OpenIddict's fastest setting, RS256", rate("service-rs256", "openiddict-degraded-rs256"), at_least=1.3),
        Bound("tokens/s ÷ OpenIddict's fastest setting, ES256", rate("service-es256", "openiddict-degraded-es256"), at_least=2.2),
        Bound("tokens/s ÷ node-oidc-provider, RS256", rate("service-rs256", "oidc-provider-rs256"), at_least=1.9),
        Bound("tokens/s ÷ node-oidc-provider, ES256", rate("service-es256", "oidc-provider-es256"), at_least=5.5),
        Bound("tokens/s ÷ node-oidc-provider, private_key_jwt, our replay detection durable",
              rate("service-assertion", "oidc-provider-assertion"), at_least=2),
        Bound("tokens/s with 100,000 clients ÷ with 10", rate("service-100000", "service-rs256"), at_least=0.95, digits=3),
        Bound("process start to first token, 10 clients", results.start("service-rs256"), at_most=60, unit=" ms", digits=0),
        Bound("process start to first token, 100,000 clients", results.start("service-100000"), at_most=700, unit=" ms", digits=0),
        Bound(f"resident after {tokens:,} tokens, 10 clients", single(results.memory("service-rs256", "resident")), at_most=50, unit=" MB", digits=1),
        Bound(f"resident after {tokens:,} tokens, 100,000 clients",
              single(results.memory("service-100000", "resident")), at_most=200, unit=" MB", digits=1),
        Bound("program on disk, without symbols", single(results.disk("service-rs256", "program")), at_most=30, unit=" MB", digits=1),
        Bound("answers/s with token_reuse ÷ the floor without a signature", rate("service-reuse", "floor-none"), at_least=0.6),
    ]


# ------------------------------------------------------------------------------------------------------------------ tables

GROUPS = {
    "RS256": ["service-rs256", "service-jit-rs256", "openiddict-degraded-rs256", "openiddict-notokens-rs256", "openiddict-default-rs256",
              "oidc-provider-rs256", "floor-rs256", "floor-rs256-batch"],
    "ES256": ["service-es256", "service-jit-es256", "openiddict-degraded-es256", "oidc-provider-es256", "floor-es256", "floor-es256-batch"],
    "assertion": ["service-assertion", "oidc-provider-assertion"],
    "clients": ["service-rs256", "service-10000", "service-100000"],
    "reuse": ["service-reuse", "floor-none"],
}


def whole(value):
    return "–" if value is None else f"{value:,.0f}"


def with_spread(spread, digits=0):
    if spread is None:
        return "–"
    return f"{spread.median:,.{digits}f} <sub>{spread.low:,.{digits}f}–{spread.high:,.{digits}f}</sub>"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def load_table(results, group, floor, compared):
    """Throughput, processor time and latency of a group at 16 connections; the last column says how many times ours is."""
    rows = []
    for key in present(results, group):
        cost_ratio = results.ratio(key, floor, "cost")
        rows.append([
            bold(results.contestants[key]["name"], key == compared),
            with_spread(results.load(key, "rate")),
            with_spread(results.load(key, "cost"), 1),
            "1" if key == floor else with_spread(cost_ratio, 2),
            "" if key == compared else with_spread(results.ratio(compared, key, "rate"), 2),
            *(f"{results.load(key, quantile).median:,.1f}" for quantile in ("p50", "p99", "p999")),
        ])
    return table(["16 connections", "answers/s", "µs of processor each", "÷ floor", "TokenService's answers/s ÷ these", "p50 ms", "p99 ms", "p99.9 ms"], rows)


def connections_table(results):
    rows = []
    for key in results.contestants:
        if results.load(key, "rate", 1) is None:
            continue
        cells = [label(results, key)]
        for connections in (1, 16, 64):
            cells += [whole(results.load(key, "rate", connections).median), f"{results.load(key, 'p50', connections).median:,.1f}",
                      f"{results.load(key, 'p99', connections).median:,.1f}", f"{results.load(key, 'p999', connections).median:,.1f}"]
        rows.append(cells)
    head = [""]
    for connections in (1, 16, 64):
        head += [f"{connections} conn.: answers/s", "p50", "p99", "p99.9"]
    return table(head, rows)


def resources_table(results):
    ours = "service-rs256"
    rows = []
    for key in results.raw["memory"]:
        memory, start = results.raw["memory"][key], results.start(key)
        short = memory["tokens"] < results.raw["settings"]["tokens"]
        runtime = results.disk(key, "runtime")
        rows.append([
            bold(label(results, key), key == ours),
            with_spread(start),
            times(start.median, results.start(ours) and results.start(ours).median),
            f"{results.resident_at_start(key).median:.0f}",
            f"{memory['resident']:.0f}" + (f" <sub>{memory['tokens']:,}</sub>" if short else ""),
            f"{memory['peak']:.0f}",
            times(memory["resident"], results.memory(ours, "resident")),
            f"{results.disk(key, 'program'):.0f}" + (f" + {runtime:.0f}" if runtime else ""),
        ])
    tokens = f"{results.raw['settings']['tokens']:,}"
    return table(["", "start to first token, ms", "÷ TokenService", "MB resident after it", f"after {tokens} tokens", "peak", "÷ TokenService",
                  "MB on disk + runtime"], rows)


def times(value, ours):
    return "–" if not ours else f"{value / ours:.1f}"


def present(results, group):
    return [key for key in GROUPS[group] if results.load(key, "rate") is not None]


def label(results, key):
    contestant = results.contestants[key]
    if key.startswith("floor") or not contestant["algorithm"]:
        return contestant["name"]
    method = ", `private_key_jwt`" if contestant["load"] == "assertion" else ""
    return f"{contestant['name']}, {contestant['algorithm']}{method}"


def bold(text, yes):
    return f"**{text}**" if yes else text


# ------------------------------------------------------------------------------------------------------------------ charts

STYLE = """
  .ground { fill: #ffffff; stroke: #d0d7de }
  text { fill: #1f2328; font: 13px system-ui, sans-serif }
  .title { font-weight: 600; font-size: 15px }
  .soft { fill: #59636e }
  .ours { fill: #0969da }
  .floor { fill: #8c959f }
  .peer { fill: #bc8c5f }
  .spread { stroke: #1f2328 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d }
    text { fill: #f0f6fc }
    .soft { fill: #9198a1 }
    .ours { fill: #4493f8 }
    .floor { fill: #656c76 }
    .peer { fill: #a5794f }
    .spread { stroke: #f0f6fc }
  }
"""


def chart(title, unit, bars, digits=0):
    """Horizontal bars from (key, label, Spread); a line shows the spread. On a ground of its own, light or dark as the reader's system is."""
    left, right, row, top = 280, 90, 30, 62
    width, height = 820, top + row * len(bars) + 14
    scale = (width - left - right) / max(spread.high for _, _, spread in bars)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
             f"<title>{escape(title)}, {escape(unit)}</title>", f"<style>{STYLE}</style>",
             f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>',
             f'<text class="title" x="16" y="27">{escape(title)}</text>',
             f'<text class="soft" x="16" y="47">{escape(unit)}</text>']
    for i, (key, name, spread) in enumerate(bars):
        y = top + i * row
        kind = "ours" if key.startswith("service") else "floor" if key.startswith("floor") else "peer"
        length, low, high = (spread.median * scale, left + spread.low * scale, left + spread.high * scale)
        parts.append(f'<text x="{left - 10}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="{kind}" x="{left}" y="{y + 2}" width="{max(length, 1):.1f}" height="19" rx="2"/>')
        if high - low >= 2:
            parts.append(f'<path class="spread" d="M{low:.1f} {y + 11.5}H{high:.1f}M{low:.1f} {y + 8}v7M{high:.1f} {y + 8}v7"/>')
        parts.append(f'<text x="{max(left + length, high) + 8:.1f}" y="{y + 16}">{spread.median:,.{digits}f}</text>')
    return "\n".join([*parts, "</svg>", ""])


def charts(results):
    """File name and text of each."""
    def bars(keys, value):
        found = [(key, results.contestants[key]["name"], value(key)) for key in keys if key in results.contestants]
        return [bar for bar in found if bar[2] is not None]

    rate, cost = lambda key: results.load(key, "rate"), lambda key: results.load(key, "cost")
    single = lambda value: None if value is None else Spread(value, value, value)
    memory = lambda key: single(results.memory(key, "resident"))
    with_memory = [key for key in results.raw["memory"] if results.contestants[key]["algorithm"] != "ES256"]
    named = [(name, title, unit, found) for name, title, unit, found in (
        ("tokens-rs256", "Tokens a second on one core, RS256", "client_secret_basic, 16 connections; more is better", bars(GROUPS["RS256"], rate)),
        ("tokens-es256", "Tokens a second on one core, ES256", "client_secret_basic, 16 connections; more is better", bars(GROUPS["ES256"], rate)),
        ("cost-es256", "Processor time of a token, ES256", "µs of the server's own time, 16 connections; less is better", bars(GROUPS["ES256"], cost)),
        ("assertions", "Tokens a second on one core for client assertions", "private_key_jwt, RS256, 16 connections; more is better",
         bars(GROUPS["assertion"], rate)),
        ("start", "Process start to first token", "ms; less is better", bars(with_memory, results.start)),
        ("memory", "Resident memory after many tokens", "MB; less is better", bars(with_memory, memory)),
    ) if found]
    return {f"{name}.svg": chart(title, unit, found) for name, title, unit, found in named}


# -------------------------------------------------------------------------------------------------------------------- page


def text(results, drawn):
    """The page."""
    raw = results.raw
    settings, machine, versions = raw["settings"], raw["machine"], raw["versions"]
    image = lambda name, words: f"![{words}](performance/{name}.svg)\n\n" if f"{name}.svg" in drawn else ""
    rate = lambda key, connections=BASE_CONNECTIONS: whole(getattr(results.load(key, "rate", connections), "median", None))
    cost = lambda key: whole(getattr(results.load(key, "cost"), "median", None))
    replay, store = raw.get("replay"), raw.get("store")
    signatures = raw["signatures"]
    bare = (f" `openssl speed` on the same core: {signatures['RS256']:.0f} µs for one RSA-2048 signature, {signatures['ES256']:.1f} µs for one on P-256."
            if signatures else "")
    parts = [f"""# Performance

What a token costs, beside what one could pick instead and beside the least that it can cost. Written by [bench](../bench/README.md), from one run:

```sh
{raw["command"]}
```

on {raw["measured"]}, in {raw["seconds"] // 60} minutes without building: {settings["rounds"]} rounds of {settings["seconds"]} s for each, all in turn in each round. Figures are medians; the small
ones are the least and the greatest. Absolute figures are those of one machine, ratios change much less from one to another. [All figures](performance/results.json).

| | |
| --- | --- |
| machine | {machine["processor"]}, {machine["cores"]} cores, {machine["gib"]} GiB; the server on one core, the load on another |
| system | {machine["system"]}; stores on {machine["disk"]}, where a synced write of 4 KiB takes {raw["synced_write_ms"]:.2f} ms |
| versions | {", ".join(f"{name} {version}" for name, version in versions.items())} |

## In short

| | |
| --- | ---: |
| tokens a second on one core, RS256, `client_secret_basic` | {rate("service-rs256")} |
| processor time of such a token; of the floor with one signature | {cost("service-rs256")} µs; {cost("floor-rs256")} µs |
| tokens a second on one core, ES256, `client_secret_basic` | {rate("service-es256")} |
| processor time of such a token; of the floor with one signature | {cost("service-es256")} µs; {cost("floor-es256")} µs |
| tokens a second, RS256, `private_key_jwt`, with 1, 16, 64 connections | {rate("service-assertion", 1)}, {rate("service-assertion")}, {rate("service-assertion", 64)} |
| processor time of such a token, 16 connections | {cost("service-assertion")} µs |
| answers a second with `token_reuse`, identical requests | {rate("service-reuse")} |
| resident memory after {settings["tokens"]:,} tokens; at its peak | {whole(results.memory("service-rs256", "resident"))} MB; {whole(results.memory("service-rs256", "peak"))} MB |
| process start to first token | {whole(getattr(results.start("service-rs256"), "median", None))} ms |

What was to be reached:
""", table(["", "measured", "wanted", ""], [[bound.what, bound.shown(), bound.wanted(), bound.word()] for bound in bounds(raw)]), f"""
## What is compared

- **TokenService**: published with Native AOT, on its embedded store. *JIT* is the same, published without.
- **OpenIddict** {versions["OpenIddict"]}, in three settings. *As documented*: Entity Framework Core on SQLite. *Tokens not stored*: the same with `DisableTokenStorage`. *No database*: its
  degraded mode, the fastest that its documentation has, where the program around it has to check secrets by itself.
- **node-oidc-provider** {versions["node-oidc-provider"]}, on Node.js {versions["Node.js"]}, with its own adapter in memory: nothing is kept when it ends.
- **Floor**: the same web server (Kestrel, Native AOT) with a fixed answer of the same size, and with one bare signature for each request, or none; once more with its threads
  scheduled as the service has its own scheduled on Linux (`SCHED_BATCH`: a thread that wakes up does not interrupt a signature).{bare}

All hand out the same: a JWT of type `at+jwt` with a lifetime of an hour, signed and not encrypted, with `iss`, `sub`, `aud`, `client_id`, `scope`, `iat`, `exp`, `jti`.
The bench looks at one of each before it measures. 10 clients are registered and ask in turn, by secret; where there are more, all of them do. *÷ floor* is the ratio of processor times, which
the load generator is no part of. Connections are kept open, and each asks again as soon as it has its answer; so latencies are those of a server that is always full.

## RS256
""", image("tokens-rs256", "Bars: tokens a second, RS256") + load_table(results, "RS256", "floor-rs256", "service-rs256"), """
## ES256
""", image("tokens-es256", "Bars: tokens a second, ES256") + image("cost-es256", "Bars: processor time of a token, ES256")
        + load_table(results, "ES256", "floor-es256", "service-es256"), f"""
## Client assertions

`private_key_jwt`, RS256 for the assertion and for the token; each assertion is used once. TokenService has each on the disk before it issues the token, and knows it after a restart as well; the
other one remembers in memory{f", the last 1,000 of all" if "oidc-provider-assertion" in results.contestants else ""}.{f" After a restart of TokenService, {replay['refused']} used assertions from all over the loads were sent again and each was refused, and one that was unused was not." if replay else ""}
""", image("assertions", "Bars: tokens a second, private_key_jwt") + load_table(results, "assertion", "floor-rs256", "service-assertion"), """
## Many clients

RS256, by secret, all clients in turn.
""", load_table(results, "clients", "floor-rs256", "service-rs256"), """
## The same token again

One client with [`token_reuse`](reuse-a-token.md), identical requests: each authenticates, few are signed. The floor answers as many bytes and signs nothing.
""", load_table(results, "reuse", "floor-none", "service-reuse"), """
## With 1, 16 and 64 connections

Latencies in ms.
""", connections_table(results), f"""
## Start, memory, disk

{settings["starts"]} starts on one core, the program's files in the page cache, on a store that exists. MB are 1,000,000 bytes. A small figure says how many tokens it was where the others' number
would have taken over a minute. *Runtime* is what must be installed besides: the shared frameworks of .NET, or Node.js.
""", image("start", "Bars: process start to first token") + image("memory", "Bars: resident memory") + resources_table(results)]
    if store:
        written = "nothing else" if store["changed"] == ["credential_uses"] else "nothing" if not store["changed"] else ", ".join(store["changed"])
        parts.append(f"""
Of the {store["tables"]} tables of TokenService's store, {store["tokens"]:,} tokens by secret changed {written}{f" but when each secret was last used: {store['uses']} rows, at most once a minute" if store["changed"] == ["credential_uses"] else ""}.""")
    return "\n".join(parts) + "\n"


def write(raw, folder):
    """Writes the page, the charts and the results into the folder."""
    results = Results(raw)
    drawn = charts(results)
    below = folder / "performance"
    below.mkdir(parents=True, exist_ok=True)
    for old in below.glob("*.svg"):
        old.unlink()
    for name, svg in drawn.items():
        (below / name).write_text(svg)
    (below / "results.json").write_text(json.dumps(rounded(raw), indent=1) + "\n")
    (folder / "performance.md").write_text(text(results, drawn))


def rounded(value):
    """Four digits after the point are more than were measured."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    given = Path(sys.argv[1])
    write(json.loads((given / "performance" / "results.json").read_text()), given)
