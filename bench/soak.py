"""Uses the service hard for minutes, and says whether anything of it grows; soak.sh calls it. README.md says how to read it."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import secrets
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import contestants
from contestants import BenchFault, Server, Service, Work, environment
from measure import number

HERE = Path(__file__).resolve().parent
LASTING, ASSERTIONS_A_SECOND, ASSERTION_LIFETIME, KEYS_KEPT = 100, 20, 5, 3
CHURN_EVERY = 5
#: What may be between the two looks: two hundredths, or a MiB (for what is counted: as many as come and go with a request or a command).
GROWTH, MIB = 0.02, 1024 * 1024


class Soaked(Service):
    """The service on the embedded store, with clients that last and others that come and go."""

    algorithm = "RS256"
    mac_secret = secrets.token_urlsafe(48)
    generation = 0
    each = 0

    def secrets(self):
        return self.work.some_secrets(LASTING)

    def register(self):
        self.lasting = [{"client_id": client, "client_secret_hash": hashed(secret), "scope": "read write"} for client, secret in self.secrets().items()]
        self.lasting.append({"client_id": "signer", "token_endpoint_auth_method": "client_secret_jwt", "client_secret": self.mac_secret, "scope": "read write"})
        self.churn()

    def churn(self):
        """Takes out the clients of the generation before, and registers as many new ones."""
        self.generation += 1
        fresh = [{"client_id": f"passing-{self.generation}-{i}", "client_secret_hash": hashed(f"{self.generation}-{i}"), "scope": "read"} for i in range(self.each)]
        file = self.folder / "clients.json"
        file.write_text(json.dumps({
            "resources": [{"resource": contestants.RESOURCE, "scopes": [{"name": "read"}, {"name": "write"}]}], "clients": self.lasting + fresh}))
        self.work.command("apply", file, self.store())

    def assertion(self):
        """One of the client that signs with its secret."""
        now = time.time()
        claims = {"iss": "signer", "sub": "signer", "aud": self.issuer, "jti": secrets.token_urlsafe(16), "exp": int(now) + ASSERTION_LIFETIME}
        signed = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims))
        return f"{signed}.{encode(hmac.digest(self.mac_secret.encode(), signed.encode(), 'sha256'))}"


def encode(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def hashed(secret):
    return "sha256:" + encode(hashlib.sha256(secret.encode()).digest())


class Soak:
    """One run."""

    def __init__(self, program, folder):
        self.minutes, self.churned = number("MINUTES", 10, least=4), number("CLIENTS", 100_000)
        self.server_core, self.load_core = number("SERVER_CORE", 0, least=0), number("LOAD_CORE", 1, least=0)
        self.seconds = self.minutes * 60
        self.work = Work(folder, self.server_core)
        (self.work.folder / "service").mkdir(exist_ok=True)
        own = self.work.folder / "service" / "TokenService"
        if not own.exists():
            # The library of the store lies beside the program.
            for file in Path(program).resolve().parent.iterdir():
                if not file.name.endswith(".dbg"):
                    (own.parent / file.name).symlink_to(file)
        self.done = {"rotations": 0, "clients": 0, "assertions": 0, "refused assertions": 0}
        self.faults = []
        self.samples = []
        self.over = threading.Event()

    def run(self):
        os.sched_setaffinity(0, {self.load_core})
        self.work.prepare([LASTING])
        self.one = Soaked("soak", "TokenService", clients=LASTING)
        self.one.each = -(-self.churned * CHURN_EVERY // self.seconds)
        self.one.prepare(self.work)
        self.server = Server(self.one)
        loads = [self.wrk("token.lua", 16), self.wrk("failing.lua", 4)]
        threads = [threading.Thread(target=self.often, args=arguments, daemon=True) for arguments in
                   ((1, self.rotate), (CHURN_EVERY, self.churn), (1 / ASSERTIONS_A_SECOND, self.assert_once))]
        self.kids, self.connection = deque(), http.client.HTTPConnection("127.0.0.1", self.one.port, timeout=30)
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for second in range(1, self.seconds + 1):
            time.sleep(max(0.0, began + second - time.monotonic()))
            self.samples.append(self.sample())
            if second % 30 == 0:
                last = self.samples[-1]
                print(f"[{second // 60}:{second % 60:02}]  {last['memory'] / MIB:6.1f} MiB  {last['handles']} handles  {last['threads']} threads  "
                      f"wal {last['wal'] / MIB:.1f} MiB  {last['rows']}  {self.done}", flush=True)
        self.over.set()
        for thread in threads:
            thread.join(30)
        results = [load.communicate(timeout=60)[0] for load in loads]
        tokens, failing = (dict(zip(line.split()[2::2], map(int, line.split()[1::2]))) for line in
                           (next(line for line in result.splitlines() if line.startswith("result ")) for result in results))
        self.server.stop()
        return self.report(tokens, failing)

    def wrk(self, script, connections):
        variables = {**environment(self.work), "CREDENTIALS": str(self.one.credentials)}
        return subprocess.Popen(["taskset", "-c", str(self.load_core), "wrk", "-t1", f"-c{connections}", f"-d{self.seconds}s", "-s", str(HERE / script),
                                 f"{self.one.issuer}/oauth2/token"], stdout=subprocess.PIPE, text=True, env=variables)

    def often(self, period, what):
        """Does it each period until the end; what takes longer is done again at once."""
        due = time.monotonic()
        while not self.over.is_set():
            try:
                what()
            except Exception as fault:  # pylint: disable=broad-except
                self.faults.append(f"{what.__name__}: {fault}")
            due = max(due + period, time.monotonic())
            self.over.wait(max(0.0, due - time.monotonic()))

    def rotate(self):
        """A new key that signs at once. Retiring keys stay for a day, so those before the last are taken out as if they had leaked."""
        self.kids.append(json.loads(self.work.command("keys", "rotate", "--now", "--json", self.one.store()))["kid"])
        if len(self.kids) > KEYS_KEPT:
            self.work.command("keys", "retire", self.kids.popleft(), self.one.store())
        self.done["rotations"] += 1

    def churn(self):
        self.one.churn()
        self.done["clients"] += self.one.each

    def assert_once(self):
        self.connection.request("POST", "/oauth2/token", contestants.FORM + contestants.ASSERTION + self.one.assertion(),
                                {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self.connection.getresponse()
        answer.read()
        self.done["assertions"] += 1
        # Under full load some are refused with 503.
        self.done["refused assertions"] += answer.status == 503
        if answer.status not in (200, 503):
            raise BenchFault(f"an assertion was answered with {answer.status}")

    def sample(self):
        process = Path("/proc") / str(self.server.pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        wal = self.one.folder / "store.db-wal"
        return {"memory": int(status["VmRSS"].split()[0]) * 1024, "threads": int(status["Threads"]), "handles": len(os.listdir(process / "fd")),
                "wal": wal.stat().st_size if wal.exists() else 0, "rows": self.rows()}

    def rows(self):
        with sqlite3.connect(f"file:{self.one.folder / 'store.db'}?mode=ro", uri=True, timeout=10) as store:
            return {table: store.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("used_assertions", "signing_keys", "clients", "refusals")}

    def report(self, tokens, failing):
        """The two looks: the minute after the end of minute 2, and the last one. Used assertions are kept for a minute and a half and removed once a minute: the first
        whole peak is over two and a half minutes after the start, and each look has one."""
        early, late = self.samples[120:180], self.samples[-60:]
        table = lambda name: lambda sample: sample["rows"][name]
        lines = [
            # Between two collections it grows: the least is what is left after one.
            ("memory after collection, MiB", min, lambda sample: sample["memory"] / MIB, 1.0),
            ("open handles", statistics.median, lambda sample: sample["handles"], 4),
            ("threads", statistics.median, lambda sample: sample["threads"], 2),
            ("-wal, MiB", max, lambda sample: sample["wal"] / MIB, 1.0),
            ("used assertions kept", max, table("used_assertions"), 5 * ASSERTIONS_A_SECOND),
            ("signing keys", max, table("signing_keys"), 1),
            ("clients", max, table("clients"), 1),
            ("refusals kept", max, table("refusals"), 1000),
        ]
        grew = False
        print(f"\n{'':<32}{'minute 3':>12}{f'minute {self.minutes}':>12}")
        for name, pick, value, slack in lines:
            at = [pick(map(value, samples)) for samples in (early, late)]
            holds = at[1] <= max(at[0] * (1 + GROWTH), at[0] + slack)
            grew |= not holds
            print(f"{name:<32}{at[0]:>12.1f}{at[1]:>12.1f}   {'' if holds else 'GREW'}")
        each = [min(sample["memory"] for sample in self.samples[at:at + 60]) / MIB for at in range(0, self.seconds - 59, 60)]
        print("least memory of each minute, MiB: " + " ".join(f"{least:.1f}" for least in each))
        print(f"\n{self.done}\ntokens asked for: {tokens}\nfailing logins: {failing}")
        for fault in self.faults[:5]:
            print(f"fault: {fault}")
        ran = not self.faults and self.done["rotations"] >= self.seconds * 0.5 and self.done["clients"] >= self.churned * 0.9 and failing["refused"] > 0
        print("flat" if ran and not grew else "NOT flat" if ran else "the run was not what it should have been: the faults above, or too few rotations or clients")
        return 0 if ran and not grew else 1 if ran else 2


def main():
    """Exit status 0: flat; 1: something grew; 2: it could not be measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return Soak(sys.argv[1], sys.argv[2]).run()
    except (BenchFault, KeyError) as fault:
        print(f"soak: {fault}", file=sys.stderr)
        return 2
    finally:
        contestants.stop_all()


if __name__ == "__main__":
    sys.exit(main())
