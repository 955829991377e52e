"""What is compared: how each is prepared and started, and how one sees that it hands out the same kind of token as the others."""

import base64
import hashlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESOURCE = "https://api.example.com"
FORM = "grant_type=client_credentials&scope=read%20write"
ASSERTION = "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
LIFETIME = 3600
REUSE_SECONDS = LIFETIME // 10


class BenchFault(Exception):
    """The bench cannot go on; the text says why."""


class Work:
    """The folder of one run, with the programs that run.sh published, and what all contestants are given."""

    def __init__(self, folder, server_core):
        self.folder = Path(folder)
        self.server_core = server_core
        self.answer_bytes = {}
        self.signed_bytes = {}
        self.keys = {}
        self.secrets = {}
        self.signer_jwks = None

    def prepare(self, client_counts):
        """Makes the keys and the secrets of the clients. All ids are of one length, so that all tokens are."""
        for algorithm in ("RS256", "ES256"):
            self.keys[algorithm] = self.folder / f"{algorithm}.pem"
            self.command("new-key", "--alg", algorithm, "--out", self.keys[algorithm])
        self.signer_jwks = json.loads(self.command("new-key", "--out", self.folder / "signer.pem"))
        (self.folder / "signer.jwks").write_text(json.dumps(self.signer_jwks))
        self.secrets = {f"client-{i:06d}": secrets.token_urlsafe(32) for i in range(max(client_counts))}

    def command(self, *arguments):
        """Runs a command of the service and returns what it prints."""
        done = subprocess.run([self.folder / "service" / "TokenService", *map(str, arguments)], capture_output=True, text=True, check=False,
                              cwd=self.folder, env=environment(self))
        if done.returncode != 0:
            raise BenchFault(f"TokenService {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def some_secrets(self, count):
        """The first of the clients."""
        return dict(list(self.secrets.items())[:count])


class Contestant:
    """One program in one setting, on a port and with a store of its own."""

    #: How its clients authenticate in the load: "secret", "assertion", or "reuse" (by secret, one identical request).
    load = "secret"
    #: How many clients are registered.
    clients = 10
    #: Whether starts and memory are measured too, and whether the load is also measured with 1 and 64 connections.
    resources = False
    all_connections = False
    #: How many loads it has before the first round. What .NET compiles while it runs needs half a minute under load until it is at its best.
    warm_ups = 10
    #: What a token of it is signed with; None where it makes none.
    algorithm = None

    def __init__(self, key, name, **settings):
        self.key, self.name = key, name
        for setting, value in settings.items():
            setattr(self, setting, value)

    def prepare(self, work):
        """Makes what it needs before its first start: the store with the clients in it."""
        self.folder = work.folder / "contestants" / self.key
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.work = work
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.register()
        lines = [base64.b64encode(f"{client}:{secret}".encode()).decode() for client, secret in self.secrets().items()]
        # Not in the order in which they were registered.
        random.Random(1).shuffle(lines)
        self.credentials = self.folder / "credentials.txt"
        self.credentials.write_text("\n".join(lines) + "\n")
        self.first_credentials = lines[0]

    def register(self):
        """Makes the store."""

    def secrets(self):
        """The clients that ask by secret."""
        return self.work.some_secrets(8)

    def argv(self):
        """The command line of the server."""
        raise NotImplementedError

    def variables(self):
        """What it needs in its environment."""
        return {}

    def program(self):
        """The files and folders that it consists of, and those of the runtime that it needs besides."""
        raise NotImplementedError

    def start(self):
        """Starts it and waits until it answers; returns the process and the time from its start to the end of the first answer, in ms."""
        return Server(self)

    def ask(self, credentials=None, assertion=None):
        """Asks for one token; returns the status and the body, or None where nobody listens."""
        form, headers = FORM, []
        if assertion is not None:
            form += ASSERTION + assertion
        else:
            headers = [f"Authorization: Basic {credentials or self.first_credentials}"]
        return post(self.port, form, headers)

    def check(self, answer):
        """Refuses an answer that could not be compared with the others."""
        status, body = answer
        if status != 200:
            raise BenchFault(f"{self.name}: no token but {status} {body[:300]!r}")
        if self.algorithm is None:
            return
        answer = json.loads(body)
        header, claims, signature = (part for part in answer["access_token"].split("."))
        header, claims = json.loads(decode(header)), json.loads(decode(claims))
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        lengths = {"RS256": 256, "ES256": 64}
        wrong = [what for what, right in {
            "token_type": answer["token_type"] == "Bearer",
            "typ": header["typ"] == "at+jwt",
            "alg": header["alg"] == self.algorithm,
            "kid": bool(header.get("kid")),
            "signature": len(decode(signature)) == lengths[self.algorithm],
            "iss": claims["iss"].rstrip("/") == self.issuer,
            "sub": claims["sub"] == claims["client_id"] and claims["sub"] in (*self.work.secrets, "reuser", "signer"),
            "aud": audience == [RESOURCE],
            "scope": claims["scope"] == "read write",
            "jti": bool(claims.get("jti")),
            "lifetime": claims["exp"] - claims["iat"] == LIFETIME,
        }.items() if not right]
        if wrong:
            raise BenchFault(f"{self.name}: not the token that the others give, by its {', '.join(wrong)}: {header} {claims}")


class Service(Contestant):
    """TokenService on the embedded store."""

    jit = False

    @property
    def warm_ups(self):
        return Contestant.warm_ups if self.jit else 1

    def secrets(self):
        if self.load == "reuse":
            return {"reuser": self.work.secrets["client-000000"]}
        return self.work.some_secrets(self.clients - 2)

    def register(self):
        hashed = lambda secret: "sha256:" + encode(hashlib.sha256(secret.encode()).digest())
        clients = [{"client_id": client, "client_secret_hash": hashed(secret), "scope": "read write"}
                   for client, secret in self.work.some_secrets(self.clients - 2).items()]
        clients.append({"client_id": "reuser", "client_secret_hash": hashed(self.work.secrets["client-000000"]), "scope": "read write",
                        "access_token_lifetime": LIFETIME, "token_reuse": REUSE_SECONDS})
        clients.append({"client_id": "signer", "token_endpoint_auth_method": "private_key_jwt", "jwks": self.work.signer_jwks,
                        "scope": "read write"})
        file = self.folder / "clients.json"
        file.write_text(json.dumps({
            "resources": [{"resource": RESOURCE, "scopes": [{"name": "read"}, {"name": "write"}]}], "clients": clients}))
        self.work.command("apply", file, self.store())

    def store(self):
        return f"--ConnectionStrings:TokenService=Data Source={self.folder / 'store.db'}"

    def argv(self):
        program = ["dotnet", self.work.folder / "service-jit" / "TokenService.dll"] if self.jit else [self.work.folder / "service" / "TokenService"]
        return [*program, f"--contentRoot={self.folder}", f"--urls={self.issuer}", f"--TokenService:Issuer={self.issuer}",
                f"--TokenService:SigningAlgorithm={self.algorithm}", self.store(), "--Logging:LogLevel:Default=Warning"]

    def program(self):
        return ([self.work.folder / "service-jit"], dotnet_runtime()) if self.jit else ([self.work.folder / "service"], [])


class Floor(Contestant):
    """The same web server with nothing to do but, at most, one signature."""

    warm_ups = 1
    signature = "None"
    #: Whose answer it gives as many bytes as.
    like = "RS256"
    #: Whether its threads are scheduled as the service has its own scheduled (SCHED_BATCH).
    batch = False

    def argv(self):
        key = [f"--Key={self.work.keys[self.signature]}"] if self.signature != "None" else []
        batch = ["chrt", "--batch", "0"] if self.batch else []
        return [*batch, self.work.folder / "floor" / "Floor", f"--contentRoot={self.folder}", f"--urls={self.issuer}", f"--Signature={self.signature}", *key,
                f"--InputBytes={self.work.signed_bytes[self.like]}", f"--AnswerBytes={self.work.answer_bytes[self.like]}"]

    def program(self):
        return [self.work.folder / "floor"], []


class OpenIddict(Contestant):
    """OpenIddict; bench/OpenIddict says what the modes are."""

    mode = "Default"

    def register(self):
        clients = self.folder / "clients.json"
        clients.write_text(client_list(self.work.some_secrets(self.clients)))
        if self.mode != "Degraded":
            subprocess.run([*self.argv(), "--Register=true"], check=True, cwd=self.folder, env=environment(self.work, self.variables()),
                           stdout=subprocess.DEVNULL)

    def argv(self):
        return ["dotnet", self.work.folder / "openiddict" / "OpenIddictPeer.dll", f"--contentRoot={self.folder}", f"--urls={self.issuer}",
                f"--Issuer={self.issuer}", f"--Mode={self.mode}", f"--Algorithm={self.algorithm}", f"--Key={self.work.keys[self.algorithm]}",
                f"--Clients={self.folder / 'clients.json'}", f"--Database={self.folder / 'openiddict.db'}",
                "--Logging:LogLevel:Default=Error"]

    def program(self):
        return [self.work.folder / "openiddict"], dotnet_runtime()


class OidcProvider(Contestant):
    """node-oidc-provider with its adapter in memory."""

    warm_ups = 3

    def register(self):
        (self.folder / "clients.json").write_text(client_list(self.work.some_secrets(self.clients - 1)))

    def argv(self):
        return [node(), HERE / "OidcProvider" / "provider.mjs"]

    def variables(self):
        return {"NODE_ENV": "production", "PORT": str(self.port), "ALGORITHM": self.algorithm, "KEY": str(self.work.keys[self.algorithm]),
                "CLIENTS": str(self.folder / "clients.json"), "SIGNER": str(self.work.folder / "signer.jwks")}

    def program(self):
        modules = HERE / "OidcProvider" / "node_modules"
        return ([folder for folder in modules.iterdir() if not folder.name.startswith("node-linux-")], [Path(node())])


def all_contestants():
    """Those that are compared, in the order in which they are shown."""
    everything = {"resources": True, "all_connections": True}
    return [
        Service("service-rs256", "TokenService", algorithm="RS256", **everything),
        Service("service-jit-rs256", "TokenService, JIT", algorithm="RS256", jit=True, resources=True),
        OpenIddict("openiddict-degraded-rs256", "OpenIddict, no database", algorithm="RS256", mode="Degraded", **everything),
        OpenIddict("openiddict-notokens-rs256", "OpenIddict, SQLite, tokens not stored", algorithm="RS256", mode="NoTokenStorage"),
        OpenIddict("openiddict-default-rs256", "OpenIddict, SQLite, as documented", algorithm="RS256", mode="Default", **everything),
        OidcProvider("oidc-provider-rs256", "node-oidc-provider, in memory", algorithm="RS256", **everything),
        Floor("floor-rs256", "Floor, one RSA-2048 signature", signature="RS256", **everything),
        Floor("floor-rs256-batch", "Floor, one RSA-2048 signature, scheduled as a batch", signature="RS256", batch=True),
        Floor("floor-none", "Floor, no signature", **everything),
        Service("service-10000", "TokenService, 10,000 clients", algorithm="RS256", clients=10_000, resources=True),
        Service("service-100000", "TokenService, 100,000 clients", algorithm="RS256", clients=100_000, resources=True),
        Service("service-es256", "TokenService", algorithm="ES256", **everything),
        Service("service-jit-es256", "TokenService, JIT", algorithm="ES256", jit=True),
        OpenIddict("openiddict-degraded-es256", "OpenIddict, no database", algorithm="ES256", mode="Degraded"),
        OidcProvider("oidc-provider-es256", "node-oidc-provider, in memory", algorithm="ES256"),
        Floor("floor-es256", "Floor, one P-256 signature", signature="ES256", like="ES256", **everything),
        Floor("floor-es256-batch", "Floor, one P-256 signature, scheduled as a batch", signature="ES256", like="ES256", batch=True),
        Service("service-assertion", "TokenService", algorithm="RS256", load="assertion", all_connections=True),
        OidcProvider("oidc-provider-assertion", "node-oidc-provider, in memory", algorithm="RS256", load="assertion", all_connections=True),
        Service("service-reuse", "TokenService, token_reuse", algorithm="RS256", load="reuse", all_connections=True),
    ]


class Server:
    """A running contestant, on the core of the servers."""

    def __init__(self, contestant):
        self.contestant, work = contestant, contestant.work
        log = open(work.folder / f"{contestant.key}.log", "ab")
        argv, variables = list(map(str, contestant.argv())), environment(work, contestant.variables())
        here = os.sched_getaffinity(0)
        began = time.perf_counter()
        # It begins on the core that its parent is on at that moment.
        os.sched_setaffinity(0, {work.server_core})
        try:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=contestant.folder, env=variables)
        finally:
            os.sched_setaffinity(0, here)
            log.close()
        self.pid = self.process.pid
        RUNNING.add(self)
        while (answer := contestant.ask()) is None:
            if self.process.poll() is not None:
                raise BenchFault(f"{contestant.name} ended before it listened")
            if time.perf_counter() - began > 60:
                raise BenchFault(f"{contestant.name} does not listen after 60 s")
            time.sleep(0.0005)
        self.first_token_ms = (time.perf_counter() - began) * 1000
        self.answer = answer
        contestant.check(answer)

    def processor_seconds(self):
        """User and system time of all its threads so far. The name in the line may hold blanks, so it is cut off."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def memory(self):
        """Resident memory now and at its peak, in MB (1,000,000 bytes)."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return tuple(int(status[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))

    def settle(self):
        """Waits until it does nothing more by itself, 10 s at the most: what is compiled while it runs is compiled best while nobody asks."""
        for _ in range(20):
            before = self.processor_seconds()
            time.sleep(0.5)
            if self.processor_seconds() - before <= 0.03:
                return

    def freeze(self):
        """Lets it do nothing, so that it takes no time from the one that is measured."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Lets it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """Ends it. The service waits for load balancers after the first signal, and no longer after the second."""
        RUNNING.discard(self)
        self.thaw()
        for _ in range(2):
            self.process.terminate()
            try:
                self.process.wait(0.1)
                return
            except subprocess.TimeoutExpired:
                pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


#: The servers that run now.
RUNNING = set()


def stop_all():
    """Ends what still runs."""
    for server in list(RUNNING):
        server.process.kill()
        server.process.wait()
        RUNNING.discard(server)


def environment(work, more=None):
    """The environment of a contestant: that of the user, less what would change it. Its home is in the work folder."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("ASPNETCORE_", "DOTNET_gc", "DOTNET_GC", "DOTNET_Tiered", "COMPlus_", "TokenService__", "NODE_"))}
    home = work.folder / "home"
    home.mkdir(exist_ok=True)
    return {**kept, "HOME": str(home), "ASPNETCORE_ENVIRONMENT": "Production", "DOTNET_ENVIRONMENT": "Production",
            "DOTNET_NOLOGO": "1", **(more or {})}


def post(port, form, headers):
    """Sends one request to the token endpoint; None where nobody listens."""
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    except ConnectionRefusedError:
        return None
    with connection:
        lines = ["POST /oauth2/token HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "Content-Type: application/x-www-form-urlencoded",
                 f"Content-Length: {len(form)}", "Connection: close", "", form]
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise BenchFault(f"no HTTP answer on port {port}: {answer[:200]!r}")
    return int(head.split()[1]), body


def free_port():
    """Below the range that the kernel hands out itself, so that no connection of the load takes the port in between."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in TAKEN:
            TAKEN.add(port)
            return port


TAKEN = set()


def client_list(clients):
    return json.dumps([{"client_id": client, "client_secret": secret} for client, secret in clients.items()])


def node():
    """The Node.js that comes with the packages of bench/OidcProvider, or else that of the machine."""
    for program in (HERE / "OidcProvider" / "node_modules").glob("node-linux-*/bin/node"):
        return str(program)
    return shutil.which("node")


def dotnet_runtime():
    """The shared frameworks that a program needs which is not compiled ahead of time."""
    listed = subprocess.run(["dotnet", "--list-runtimes"], capture_output=True, text=True, check=True).stdout
    newest = {}
    for line in listed.splitlines():
        name, version, folder = line.split(" ", 2)
        if version.startswith("10."):
            newest[name] = Path(folder.strip("[]")) / version
    return [newest["Microsoft.NETCore.App"], newest["Microsoft.AspNetCore.App"]]


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
