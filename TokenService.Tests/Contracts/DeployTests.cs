using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Endpoints;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>What stands in <c>deploy</c> and in the pages for operators is true of the program.</summary>
[Trait("Storage", "Sqlite")]
public sealed class DeployTests
{
    private const string InstallYaml = "apt-get install python3-yaml";

    private static string Image => File.ReadAllText(Deploy("Dockerfile"));

    private static string Unit => File.ReadAllText(Deploy("systemd", "token-service.service"));

    [Fact]
    public void Every_setting_named_is_one_that_the_program_has()
    {
        var sections = SettingsTests.Keys().Select(key => key.Split(':')[0]);
        var named = Directory.EnumerateFiles(Deploy(), "*", SearchOption.AllDirectories)
            .Append(Repository.File("docs", "operations.md"))
            .Append(Repository.File("docs", "fleet.md"))
            .SelectMany(file => Regex.Matches(File.ReadAllText(file), @"(?<!ConnectionStrings(__|:))TokenService(__|:)(\w+((__|:)\w+)*)"))
            .Select(name => name.Groups[3].Value.Replace("__", ":", StringComparison.Ordinal))
            .ToList();

        named.Should().NotBeEmpty().And.OnlyContain(name => SettingsTests.Keys().Concat(sections).Contains(name));
    }

    [Fact]
    public void The_settings_beside_the_unit_are_accepted_and_lead_to_where_it_may_write()
    {
        var settings = SettingsTests.Read(Deploy("systemd")) with { Development = false };

        settings.ForService().KnownProxies.Should().NotBeEmpty();
        settings.ConnectionString.Should().StartWith($"Data Source=/var/lib/{Line(Unit, "StateDirectory")}/");
        Line(Unit, "ExecStart").Should().EndWith(" --contentRoot=/etc/token-service");
    }

    [Fact]
    public void The_unit_may_write_the_audit_log_where_its_page_puts_it()
    {
        var file = Regex.Match(File.ReadAllText(Repository.File("docs", "audit.md")), "\"File\": \"([^\"]+)\"").Groups[1].Value;

        Path.GetDirectoryName(file).Should().Be($"/var/log/{Line(Unit, "LogsDirectory")}");
        Line(Unit, "LogsDirectoryMode").Should().Be("0750", "it says who asked for what");
    }

    [Fact]
    public void The_unit_gives_the_program_the_time_to_stop_and_the_descriptors_for_all_connections()
    {
        Number(Line(Unit, "TimeoutStopSec")).Should().BeGreaterThan(5);
        WebServerLimits.MostConnectionsWith(Number(Line(Unit, "LimitNOFILE"))).Should().Be(10_000);
        Line(Unit, "LimitCORE").Should().Be("0");
    }

    [NeedsFact("systemd-analyze", "apt-get install systemd")]
    public async Task The_unit_is_one_that_systemd_takes_and_finds_little_exposed()
    {
        using var folder = new TemporaryFolder();
        var unit = folder.Write("token-service.service", Unit.Replace("/opt/token-service/TokenService", Repository.Program, StringComparison.Ordinal));
        Directory.CreateDirectory(unit + ".d");
        File.Copy(Deploy("systemd", "master-key.conf"), Path.Combine(unit + ".d", "master-key.conf"));

        var verified = await RunningProgram.Run("systemd-analyze", ["verify", unit]);
        (verified.ExitCode, verified.Error).Should().Be((0, ""), "it has nothing to say against it");
        var rated = await RunningProgram.Run("systemd-analyze", ["security", "--offline=true", "--threshold=20", "--no-pager", unit]);
        rated.ExitCode.Should().Be(0, rated.Output + rated.Error);
    }

    [NeedsPythonFact("yaml", InstallYaml)]
    public async Task The_settings_of_the_pods_are_accepted()
    {
        var container = await Container();
        var settings = await Environment(container, "base/configmap.yaml", "ingress/known-proxies.yaml");

        var read = SettingsTests.Read("/", [.. settings.Select(setting => (setting.Key.Replace("__", ":", StringComparison.Ordinal), setting.Value))]);
        (read with { Development = false }).ForService().IsPostgreSql.Should().BeTrue();
        read.KnownProxies.Should().NotBeEmpty();

        // The master key is where the secret is mounted, readable for the group that the pod has.
        var mount = container.GetProperty("volumeMounts")[0];
        var pod = await Pod();
        var volume = pod.GetProperty("volumes").EnumerateArray().Single(volume => Text(volume, "name") == Text(mount, "name"));
        read.MasterKeyFile.Should().Be($"{Text(mount, "mountPath")}/{Text(volume.GetProperty("secret").GetProperty("items")[0], "path")}");
        volume.GetProperty("secret").GetProperty("defaultMode").GetInt32().Should().Be(Convert.ToInt32("440", 8));
        pod.GetProperty("securityContext").GetProperty("fsGroup").GetInt32().Should().Be(Number(Regex.Match(Image, @"USER \d+:(\d+)").Groups[1].Value));
    }

    [NeedsPythonFact("yaml", InstallYaml)]
    public async Task Ports_agree_from_the_image_to_the_ingress()
    {
        var container = await Container();
        var service = (await Yaml("base/service.yaml")).GetProperty("spec").GetProperty("ports")[0];
        var ingress = (await Yaml("ingress/ingress.yaml")).GetProperty("spec").GetProperty("rules")[0].GetProperty("http").GetProperty("paths")[0];

        var port = container.GetProperty("ports")[0];
        port.GetProperty("containerPort").GetInt32().Should().Be(Number(Regex.Match(Image, @"ENV ASPNETCORE_HTTP_PORTS=(\d+)").Groups[1].Value))
            .And.Be(Number(Regex.Match(Image, @"EXPOSE (\d+)").Groups[1].Value));
        Text(service, "targetPort").Should().Be(Text(port, "name"));
        Text(ingress.GetProperty("backend").GetProperty("service").GetProperty("port"), "name").Should().Be(Text(service, "name"));

        var tls = await Container("own-tls/deployment.yaml");
        var environment = tls.GetProperty("env").EnumerateArray().ToDictionary(pair => Text(pair, "name"), pair => Text(pair, "value"));
        var tlsPort = tls.GetProperty("ports")[1];
        environment["ASPNETCORE_HTTPS_PORTS"].Should().Be($"{tlsPort.GetProperty("containerPort")}");
        environment["ASPNETCORE_HTTP_PORTS"].Should().BeEmpty("nothing is served without TLS");
        Text((await Yaml("own-tls/service.yaml")).GetProperty("spec").GetProperty("ports")[1], "targetPort").Should().Be(Text(tlsPort, "name"));
        foreach (var probe in (string[])["readinessProbe", "livenessProbe"])
        {
            Text(Get(container, probe), "port").Should().Be(Text(port, "name"));
            Text(Get(tls, probe), "port").Should().Be(Text(tlsPort, "name"));
            Text(Get(tls, probe), "scheme").Should().Be("HTTPS");
        }
    }

    [NeedsPythonFact("yaml", InstallYaml)]
    public async Task Probes_ask_what_the_program_answers()
    {
        var container = await Container();
        await using var service = await RunningService.Start();

        foreach (var (probe, path) in new[] { ("readinessProbe", "/health/ready"), ("livenessProbe", "/health/live") })
        {
            Text(Get(container, probe), "path").Should().Be(path);
            using var answer = await service.Http.GetAsync(path);
            answer.StatusCode.Should().Be(HttpStatusCode.OK);
        }
    }

    [NeedsPythonFact("yaml", InstallYaml)]
    public async Task A_stopping_pod_is_noticed_and_has_the_time_to_end()
    {
        var (pod, container) = (await Pod(), await Container());

        var readiness = container.GetProperty("readinessProbe");
        (readiness.GetProperty("periodSeconds").GetInt32() * readiness.GetProperty("failureThreshold").GetInt32())
            .Should().BeLessThanOrEqualTo((int)GracefulStop.Drain.TotalSeconds);
        var before = container.GetProperty("lifecycle").GetProperty("preStop").GetProperty("sleep").GetProperty("seconds").GetInt32();
        pod.GetProperty("terminationGracePeriodSeconds").GetInt32().Should().BeGreaterThanOrEqualTo(before + 10, "the program takes up to 5");
    }

    [NeedsPythonFact("yaml", InstallYaml)]
    public async Task Pods_are_as_restricted_as_pods_can_be()
    {
        var (pod, container) = ((await Pod()).GetProperty("securityContext"), (await Container()).GetProperty("securityContext"));

        pod.GetProperty("runAsNonRoot").GetBoolean().Should().BeTrue();
        pod.GetProperty("runAsUser").GetInt32().Should().Be(Number(Regex.Match(Image, @"USER (\d+):").Groups[1].Value));
        Text(pod.GetProperty("seccompProfile"), "type").Should().Be("RuntimeDefault");
        container.GetProperty("allowPrivilegeEscalation").GetBoolean().Should().BeFalse();
        container.GetProperty("readOnlyRootFilesystem").GetBoolean().Should().BeTrue();
        container.GetProperty("capabilities").GetProperty("drop")[0].GetString().Should().Be("ALL");
    }

    [Fact]
    public async Task The_program_starts_as_the_image_starts_it()
    {
        Image.Should().Contain("ENTRYPOINT [\"/app/TokenService\"]").And.Contain("WORKDIR /var/lib/token-service");
        using var folder = new TemporaryFolder();
        var port = RunningProgram.FreePort();

        await using var program = await RunningProgram.Start(
            Repository.Program,
            [],
            new($"http://127.0.0.1:{port}/health/ready"),
            folder.Path,
            ("ASPNETCORE_HTTP_PORTS", $"{port}"),
            ("TokenService__Issuer", "https://auth.example.com"));
        await program.Prints("Issuer https://auth.example.com, signing with");

        if (!TestStorage.IsPostgreSql)
        {
            Directory.GetFiles(folder.Path).Should().Contain(folder.File("token-service.db"), "the store is where the volume is");
        }
    }

    [NeedsPostgreSqlFact]
    [Trait("Storage", "PostgreSql")]
    public async Task A_store_moves_from_SQLite_to_PostgreSQL_with_clients_secrets_and_signing_keys()
    {
        await using var server = await PostgreSqlServer.Start();
        using var target = new TemporaryFolder(server);
        var source = Directory.CreateDirectory(target.File("sqlite")).FullName;
        string[] sqlite = [$"--contentRoot={source}", "--environment=Production", "--TokenService:Issuer=https://auth.example.com"];
        (await Run([.. sqlite, "resources", "add", "https://billing.example.com", "--scope", "invoices.read", "--name", "Bill's API"])).ExitCode.Should().Be(0);
        var secret = (await Run([.. sqlite, "clients", "add", "--id", "invoice-mailer", "--scope", "invoices.read"])).Output.Trim();
        var shared = (await Run([.. sqlite, "clients", "add", "--id", "signer", "--scope", "invoices.read", "--auth", "client_secret_jwt"])).Output.Trim();
        shared.Should().HaveLength(64);
        (await Run([.. sqlite, "keys", "rotate", "--now"])).ExitCode.Should().Be(0);
        var keys = (await Run([.. sqlite, "keys", "list"])).Output;
        File.Copy(Path.Combine(source, "token-service.master-key"), target.File("token-service.master-key"), overwrite: true);

        var cli = new Cli(target);
        (await cli.Run("clients", "list")).ExitCode.Should().Be(0, "a command makes the tables and no key");
        var sql = await RunningProgram.Run(NeedsPythonFactAttribute.Python, [Deploy("sqlite-to-postgresql.py"), Path.Combine(source, "token-service.db")]);
        sql.ExitCode.Should().Be(0, sql.Error);
        sql.Output.Should().NotContain(shared, "it stays encrypted");
        var database = new Npgsql.NpgsqlConnectionStringBuilder(target.Database).Database!;
        await server.Execute(sql.Output, database);

        (await cli.Run("keys", "list")).Output.Should().Be(keys);
        var port = RunningProgram.FreePort();
        await using var service = await cli.Serve(port);
        var token = await Commands.CommandTests.TokenOf(port, "invoice-mailer", secret);
        token.Status.Should().Be(200, token.Body);
        (await cli.Run("resources", "list")).Output.Should().Contain("Bill's API");

        var again = () => server.Execute(sql.Output, database);
        (await again.Should().ThrowAsync<Npgsql.PostgresException>()).Which.MessageText.Should().Contain("is not empty");

        static Task<Finished> Run(string[] args) => RunningProgram.Run(Repository.Program, args);
    }

    private static string Deploy(params string[] path) => Repository.File(["deploy", .. path]);

    private static string Line(string unit, string key) => Regex.Match(unit, $"^{key}=(.*)$", RegexOptions.Multiline).Groups[1].Value;

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    private static string Text(JsonElement element, string member) => element.GetProperty(member).GetString()!;

    private static JsonElement Get(JsonElement container, string probe) => container.GetProperty(probe).GetProperty("httpGet");

    private static async Task<JsonElement> Pod(string file = "base/deployment.yaml")
        => (await Yaml(file)).GetProperty("spec").GetProperty("template").GetProperty("spec");

    private static async Task<JsonElement> Container(string file = "base/deployment.yaml") => (await Pod(file)).GetProperty("containers")[0];

    // As the pod gets them, with some text for each secret.
    private static async Task<Dictionary<string, string>> Environment(JsonElement container, params string[] maps)
    {
        var all = container.GetProperty("env").EnumerateArray().ToDictionary(
            pair => Text(pair, "name"), pair => pair.TryGetProperty("value", out var value) ? value.GetString()! : "a secret");
        foreach (var map in maps)
        {
            foreach (var pair in (await Yaml(map)).GetProperty("data").EnumerateObject())
            {
                all[pair.Name] = pair.Value.GetString()!;
            }
        }

        return all;
    }

    private static async Task<JsonElement> Yaml(string file)
    {
        var finished = await RunningProgram.Run(
            NeedsPythonFactAttribute.Python, ["-c", "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))", Deploy("kubernetes", file)]);
        finished.ExitCode.Should().Be(0, finished.Error);
        return JsonDocument.Parse(finished.Output).RootElement;
    }
}
