"""Measures all contestants in turn, checks what must hold, and writes the results; run.sh calls it. README.md says how to read them."""

import hashlib
import json
import os
import platform
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import contestants
import page
from contestants import BenchFault, Server, Work

HERE = Path(__file__).resolve().parent
MOST_SECONDS_FOR_TOKENS, SECONDS_WHERE_TOO_SLOW = 60, 20
BASE_CONNECTIONS, OTHER_CONNECTIONS = 16, (1, 64)
LEFT_OVER = 0.3


class Silence(BenchFault):
    """Nothing at all was answered, and nothing broke."""


class Settings:
    """The knobs, from the environment."""

    def __init__(self):
        self.rounds = number("ROUNDS", 5)
        self.seconds = number("SECONDS_PER_ROUND", 3)
        self.starts = number("STARTS", 10)
        self.tokens = number("TOKENS", 100_000)
        self.server_core = number("SERVER_CORE", 0, least=0)
        self.load_core = number("LOAD_CORE", 1, least=0)
        self.contestants = os.environ.get("CONTESTANTS", "").split()
        self.output = Path(os.environ.get("OUTPUT") or HERE.parent / "docs")

    def command(self):
        """The command line that this run is repeated with."""
        changed = [f"{name}={os.environ[name]}" if " " not in os.environ[name] else f"{name}='{os.environ[name]}'"
                   for name in ("ROUNDS", "SECONDS_PER_ROUND", "STARTS", "TOKENS", "CONTESTANTS", "SERVER_CORE", "LOAD_CORE")
                   if os.environ.get(name)]
        return " ".join([*changed, "bench/run.sh"])


def number(name, otherwise, least=1):
    text = os.environ.get(name) or str(otherwise)
    if not text.isdecimal() or int(text) < least:
        raise BenchFault(f"{name} must be a number from {least} on, not {text}")
    return int(text)


class Step:
    """A piece of the run: what it is called, about how many seconds it takes, and the function that does it and returns what to say of it."""

    def __init__(self, label, seconds, run):
        self.label, self.seconds, self.run = label, seconds, run


class Measurement:
    """One run."""

    def __init__(self, work, settings):
        self.work, self.settings = work, settings
        self.all = contestants.all_contestants()
        self.chosen = [one for one in self.all
                       if not settings.contestants or any(part in one.key for part in settings.contestants)]
        self.servers = {}
        self.rates = {}
        self.used = []
        self.results = {"contestants": {}, "warm_up": {}, "loads": [], "starts": {}, "memory": {}, "disk": {}}

    def run(self):
        """Everything, in order, with its progress."""
        settings = self.settings
        os.sched_setaffinity(0, {settings.load_core})
        self.prepare()
        steps = [*self.warm_up(), *self.rounds(), *self.after_rounds(), *self.starts(), *self.memory()]
        began, done, whole = time.monotonic(), 0.0, sum(step.seconds for step in steps)
        for step in steps:
            said = step.run()
            done += step.seconds
            elapsed = time.monotonic() - began
            left = (whole - done) * max(elapsed / done, 0.5)
            say(f"[{clock(elapsed)}, {clock(left)} left]  {step.label:<66} {said}")
        self.results["seconds"] = round(time.monotonic() - began)
        return self.results

    # ---------------------------------------------------------------------------------------------------- before the rounds

    def prepare(self):
        settings, work = self.settings, self.work
        say("Making keys, clients and stores…")
        work.prepare([one.clients for one in self.all])
        service = {"RS256": "service-rs256", "ES256": "service-es256"}
        needed = [one for one in self.all if one in self.chosen or one.key in service.values()]
        for one in needed:
            began = time.monotonic()
            one.prepare(work)
            if isinstance(one, contestants.Service):
                # Its first start makes the signing key.
                server = Server(one)
                if one.key == service[one.algorithm]:
                    answer = json.loads(server.answer[1])
                    work.answer_bytes[one.algorithm] = len(server.answer[1])
                    work.signed_bytes[one.algorithm] = len(answer["access_token"].rpartition(".")[0])
                server.stop()
            if one.clients >= 10_000:
                say(f"  {one.name}: registered, and first started, in {time.monotonic() - began:.1f} s")
        self.results.update({
            "command": settings.command(),
            "settings": {"rounds": settings.rounds, "seconds": settings.seconds, "starts": settings.starts, "tokens": settings.tokens},
            "measured": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "machine": machine(work.folder),
            "versions": versions(),
            "signatures": bare_signatures(settings.server_core),
            "synced_write_ms": synced_write_ms(work.folder),
            "bytes": {algorithm: {"answer": work.answer_bytes[algorithm], "signed": work.signed_bytes[algorithm]} for algorithm in service},
        })
        for one in self.chosen:
            program, runtime = one.program()
            self.results["contestants"][one.key] = {
                "name": one.name, "algorithm": one.algorithm or getattr(one, "signature", None), "load": one.load, "clients": one.clients}
            self.results["disk"][one.key] = {"program": megabytes(program), "runtime": megabytes(runtime)}

    def warm_up(self):
        def begin(one):
            server = self.servers[one.key] = Server(one)
            rates = []
            for _ in range(one.warm_ups):
                rates.append(self.load(one, BASE_CONNECTIONS)["rate"])
                server.thaw()
                server.settle()
                server.freeze()
            self.results["warm_up"][one.key] = rates
            return f"{rates[0]:>9,.0f} /s, {rates[-1]:,.0f} /s"

        return [Step(f"warming up: {title(one)}", (self.settings.seconds + 1) * one.warm_ups, lambda one=one: begin(one))
                for one in self.chosen]

    # ------------------------------------------------------------------------------------------------------------ the rounds

    def rounds(self):
        """In each round everybody in turn; every other round backwards, so that a machine that grows slower favours nobody."""
        steps = []
        for number_ in range(1, self.settings.rounds + 1):
            order = self.chosen if number_ % 2 else self.chosen[::-1]
            for connections in (BASE_CONNECTIONS, *OTHER_CONNECTIONS):
                for one in order:
                    if connections == BASE_CONNECTIONS or one.all_connections:
                        label = f"round {number_}/{self.settings.rounds}, {connections:>2} conn.: {title(one)}"
                        seconds = self.settings.seconds + (4 if one.load == "assertion" else 0.3)
                        steps.append(Step(label, seconds, lambda one=one, c=connections, n=number_: self.one_round(one, c, n)))
        return steps

    def one_round(self, one, connections, round_):
        again = ""
        try:
            measured = self.load(one, connections)
        except BenchFault as fault:
            # A disk that stands still for a second and a half makes the service refuse assertions, and a machine that stands still answers
            # nothing; once is not the server's doing.
            if one.load != "assertion" and not isinstance(fault, Silence):
                raise
            print(f"\nbench: once more: {fault}", file=sys.stderr)
            measured, again = self.load(one, connections), " (the second time)"
        self.results["loads"].append({"contestant": one.key, "connections": connections, "round": round_, **measured})
        return f"{measured['rate']:>9,.0f} /s {measured['cost']:>8.1f} µs{again}"

    def load(self, one, connections):
        """Lets wrk ask for tokens, and charges the server with its own time only. All others are frozen, and so is this one afterwards."""
        server, seconds = self.servers[one.key], self.settings.seconds
        variables = {}
        if one.load == "assertion":
            variables["ASSERTIONS"] = str(self.sign_assertions(one, connections))
            script = "assertion.lua"
        else:
            variables["CREDENTIALS"] = str(one.credentials)
            variables["FIRST"] = str(contestants.random.randrange(one.clients) + 1)
            script = "token.lua"
        server.thaw()
        try:
            measured = wrk(server, script, connections, seconds, variables)
        finally:
            # What wrk left without an answer is done by then: frozen on its way to the disk, it would be too late when it goes on.
            time.sleep(LEFT_OVER)
            server.freeze()
        self.rates[one.key] = max(self.rates.get(one.key, 0), measured["rate"])
        if one.key == "service-assertion":
            # From the first half without the first line: that one wrk does not send, and the last ones that it sent had no answer.
            lines = Path(variables["ASSERTIONS"]).read_text().splitlines()[1:measured["requests"] // 2]
            self.used.extend(lines[::len(lines) // 5 + 1])
        return measured

    def sign_assertions(self, one, connections):
        """
        For one load, twice as many as the fastest so far would have needed, and at first as many as anybody could. On both cores: nobody is
        served meanwhile.
        """
        file = one.folder / "assertions.txt"
        rate = max(2 * self.rates.get(one.key, 0), 6000)
        count = round(rate * self.settings.seconds) + 2 * connections
        here = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.settings.server_core, self.settings.load_core})
        try:
            with file.open("wb") as output:
                done = subprocess.run(["dotnet", self.work.folder / "assertions" / "Assertions.dll", self.work.folder / "signer.pem", "signer",
                                       one.issuer, str(count)], stdout=output, check=False)
        finally:
            os.sched_setaffinity(0, here)
        if done.returncode != 0:
            raise BenchFault("no assertions were signed")
        return file

    # ------------------------------------------------------------------------------------------------------ after the rounds

    def after_rounds(self):
        steps = []
        if "service-assertion" in (one.key for one in self.chosen):
            steps.append(Step("used assertions, sent again after a restart", 2, self.check_replay))
        return [*steps, Step("ending the servers", 2, self.end_servers)]

    def check_replay(self):
        """
        Whether they were noted, and in the store: a new process is asked. An unused one shows that nothing else is wrong with them; the latest
        are young enough, and not too many for the limit on failures.
        """
        one = next(one for one in self.chosen if one.key == "service-assertion")
        self.servers.pop(one.key).stop()
        self.servers[one.key] = Server(one)
        unused = (one.folder / "assertions.txt").read_text().splitlines()[-1]
        used = self.used[-40:]
        if not used:
            raise BenchFault("too few tokens were issued to try their assertions again")
        for assertion, status in [(unused, 200), (unused, 401), *((assertion, 401) for assertion in used)]:
            got = one.ask(assertion=assertion)
            if got is None or got[0] != status:
                raise BenchFault(f"an assertion was to be answered with {status}, but: {got}")
        self.results["replay"] = {"refused": len(used) + 1}
        return f"{len(used) + 1} used ones got 401, an unused one 200"

    def end_servers(self):
        for server in self.servers.values():
            server.stop()
        self.servers.clear()
        return ""

    # ------------------------------------------------------------------------------------------------ starts, memory, store

    def starts(self):
        def measure(one):
            times, resident = [], []
            for _ in range(self.settings.starts):
                server = Server(one)
                times.append(server.first_token_ms)
                resident.append(server.memory()[0])
                server.stop()
            self.results["starts"][one.key] = {"ms": times, "resident": resident}
            return f"{statistics.median(times):>9,.0f} ms"

        estimate = {"openiddict": 2, "oidc": 0.6, "service-jit": 0.8, "service-100": 1}
        return [Step(f"{self.settings.starts} starts: {title(one)}",
                     self.settings.starts * next((seconds for part, seconds in estimate.items() if one.key.startswith(part)), 0.4),
                     lambda one=one: measure(one))
                for one in self.chosen if one.resources]

    def memory(self):
        def measure(one):
            server = self.servers[one.key] = Server(one)
            before = store_content(one)
            left_before, loads = left_requests(one), 0
            tokens, rate = 1, self.rates[one.key]
            enough = self.settings.tokens / rate <= MOST_SECONDS_FOR_TOKENS
            while tokens < self.settings.tokens:
                seconds = max(1, round((self.settings.tokens - tokens) / rate)) if enough else SECONDS_WHERE_TOO_SLOW
                variables = {"CREDENTIALS": str(one.credentials), "FIRST": "1"}
                tokens += wrk(server, "token.lua", BASE_CONNECTIONS, seconds, variables)["requests"]
                loads += 1
                if not enough:
                    break
            resident, peak = server.memory()
            self.results["memory"][one.key] = {"resident": resident, "peak": peak, "tokens": tokens}
            if before is not None:
                self.compare_store(one, before, store_content(one), tokens)
                if left_requests(one) - left_before > loads * BASE_CONNECTIONS:
                    raise BenchFault(f"{one.name}: more bodies were refused than wrk can have left")
            self.servers.pop(one.key).stop()
            return f"{resident:>9,.1f} MB after {tokens:,} tokens"

        # Rates are known only later; the progress is corrected as it goes.
        estimate = {"floor-none": 3, "floor-es256": 6, "service-es256": 7, "openiddict-default": 20, "openiddict": 45, "oidc": 55}
        share = min(1, self.settings.tokens / 100_000)
        return [Step(f"memory: {title(one)}", 1 + share * next((s for part, s in estimate.items() if one.key.startswith(part)), 26),
                     lambda one=one: measure(one))
                for one in self.chosen if one.resources]

    def compare_store(self, one, before, after, tokens):
        changed = sorted(table for table in before if before[table] != after[table])
        uses = after["credential_uses"][0]
        if one.key == "service-rs256":
            self.results["store"] = {"tokens": tokens, "changed": changed, "uses": uses, "tables": len(before)}
        if set(changed) - {"credential_uses"}:
            raise BenchFault(f"{one.name}: tokens by secret changed the store's tables {', '.join(changed)}")


def store_content(one):
    """The number of rows of each table of the service's store, and a hash of them; None for anybody else. A refusal of a body is that of a request whose sender
    closed the connection before it was read, as wrk does with its last ones when its time is over."""
    if not isinstance(one, contestants.Service):
        return None
    content = {}
    with sqlite3.connect(f"file:{one.folder / 'store.db'}?mode=ro", uri=True) as store:
        for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
            all_but = "WHERE failed_check <> 'body'" if table == "refusals" else ""
            rows = sorted(repr(row) for row in store.execute(f'SELECT * FROM "{table}" {all_but}'))
            content[table] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
    store.close()
    return content


def left_requests(one):
    """How many refusals of a body the service's store has; 0 for anybody else."""
    if not isinstance(one, contestants.Service):
        return 0
    with sqlite3.connect(f"file:{one.folder / 'store.db'}?mode=ro", uri=True) as store:
        (count,) = store.execute("SELECT COUNT(*) FROM refusals WHERE failed_check = 'body'").fetchone()
    store.close()
    return count


def wrk(server, script, connections, seconds, variables):
    """One load: requests, tokens a second, processor time of the server for each in µs, and latencies in ms."""
    before = server.processor_seconds()
    done = subprocess.run(["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "20s", "-s", HERE / script,
                           f"http://127.0.0.1:{server.contestant.port}/oauth2/token"],
                          capture_output=True, text=True, check=False, env={**os.environ, **variables})
    after = server.processor_seconds()
    found = re.search(r"result (\d+) requests (\d+) microseconds (\d+) refused (\d+) broken (\d+) p50 (\d+) p99 (\d+) p999", done.stdout)
    if done.returncode != 0 or not found:
        raise BenchFault(f"{server.contestant.name}: wrk: {done.stdout} {done.stderr}")
    requests, microseconds, refused, broken, *latencies = map(int, found.groups())
    if refused or broken or not requests:
        kind = BenchFault if requests or refused or broken else Silence
        raise kind(f"{server.contestant.name}: not every request was answered with 200: {found.group()}")
    return {"requests": requests, "rate": requests * 1e6 / microseconds, "cost": (after - before) * 1e6 / requests,
            "p50": latencies[0] / 1000, "p99": latencies[1] / 1000, "p999": latencies[2] / 1000}


# ---------------------------------------------------------------------------------------------------------- the surroundings


def machine(folder):
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE)
    return {"processor": cpu.group(1) if cpu else platform.machine(), "cores": os.cpu_count(), "gib": round(int(memory.group(1)) / 2**20),
            "system": f"{system.group(1)}, Linux {platform.release()}",
            "disk": output("stat", "-f", "-c", "%T", str(folder)).strip().replace("ext2/ext3", "ext4")}


def versions():
    openiddict = re.search(r'"OpenIddict.AspNetCore" Version="([^"]*)"', (HERE / "OpenIddict" / "Directory.Packages.props").read_text())
    provider = json.loads((HERE / "OidcProvider" / "node_modules" / "oidc-provider" / "package.json").read_text())
    commit = output("git", "-C", str(HERE), "rev-parse", "--short", "HEAD").strip()
    changed = output("git", "-C", str(HERE), "status", "--porcelain", "--untracked-files=no").strip()
    return {"TokenService": (commit or "unknown") + (" with changes" if changed else ""),
            ".NET": contestants.dotnet_runtime()[0].name, "OpenIddict": openiddict.group(1), "node-oidc-provider": provider["version"],
            "Node.js": output(contestants.node(), "--version").strip().lstrip("v"), "OpenSSL": (output("openssl", "version").split() + ["", ""])[1],
            "wrk": (output("wrk", "--version").split() + ["", ""])[1]}


def bare_signatures(core):
    """The time of one signature in µs, as `openssl speed` measures it; nothing where there is no openssl."""
    found = output("taskset", "-c", str(core), "openssl", "speed", "-mr", "-seconds", "2", "rsa2048", "ecdsap256")
    rsa, ec = re.search(r"^\+F2:\d+:2048:([\d.e-]+)", found, re.MULTILINE), re.search(r"^\+F4:\d+:256:([\d.e-]+)", found, re.MULTILINE)
    return {"RS256": microseconds_of(rsa), "ES256": microseconds_of(ec)} if rsa and ec else {}


def microseconds_of(found):
    """What -mr prints is seconds for each in some versions of openssl, and signatures a second in others."""
    value = float(found.group(1))
    return 1e6 / value if value > 1 else value * 1e6


def synced_write_ms(folder):
    """How long one synced write of 4 KiB takes where the stores are."""
    file, count = folder / "synced", 200
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_DSYNC, 0o600)
    began = time.perf_counter()
    for _ in range(count):
        os.write(descriptor, bytes(4096))
    ended = time.perf_counter()
    os.close(descriptor)
    file.unlink()
    return (ended - began) * 1000 / count


def output(*command):
    """What a program prints; nothing where there is no such program."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def megabytes(paths):
    """The size of files and folders in MB (1,000,000 bytes), without what is for debugging only."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file() and not file.is_symlink()]
    return sum(file.stat().st_size for file in files if file.suffix not in (".dbg", ".pdb", ".xml", ".map")) / 1e6


def title(one):
    algorithm = one.algorithm
    return f"{one.name}, {algorithm}{', private_key_jwt' if one.load == 'assertion' else ''}" if algorithm else one.name


def clock(seconds):
    return f"{int(seconds) // 60:>2}:{int(seconds) % 60:02}"


def say(text):
    print(text, flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work_folder = Path(sys.argv[1])
    try:
        settings = Settings()
        results = Measurement(Work(work_folder, settings.server_core), settings).run()
    except BenchFault as fault:
        print(f"bench: {fault}", file=sys.stderr)
        for log in sorted(work_folder.glob("*.log")):
            if text := log.read_text(errors="replace").strip():
                print(f"{log.name}: {text[-2000:]}", file=sys.stderr)
        return 2
    finally:
        contestants.stop_all()
    page.write(results, settings.output)
    print()
    met = True
    for bound in page.bounds(results):
        met = met and bound.met is not False
        say(f"{bound.word():<12} {bound.what}: {bound.shown()}, wanted {bound.wanted()}")
    say(f"\nWritten: {settings.output / 'performance.md'} and {settings.output / 'performance'}/")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
