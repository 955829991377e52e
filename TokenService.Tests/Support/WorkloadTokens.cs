using System;
using System.Text.Json.Nodes;

namespace TokenService.Tests.Support;

/// <summary>Tokens with the claims that platforms give to what runs on them, before they are signed.</summary>
internal static class WorkloadTokens
{
    public const string ClusterIssuer = "https://kubernetes.default.svc.cluster.local";

    public const string GitHubIssuer = "https://token.actions.githubusercontent.com";

    public const string GitLabIssuer = "https://gitlab.com";

    public const string SpiffeId = "spiffe://example.org/ns/shop/sa/indexer";

    /// <summary>A token that a pod finds in a projected volume (<c>serviceAccountToken</c>), as Kubernetes 1.30 makes it.</summary>
    public static AssertionDraft Projected(DateTimeOffset now, string issuer = ClusterIssuer, string serviceAccount = "indexer", string ns = "shop") => Of(
        $$"""
        {
          "aud": ["{{AssertionClients.Issuer}}"], "exp": {{Seconds(now, 3607)}}, "iat": {{Seconds(now, 0)}}, "iss": "{{issuer}}",
          "jti": "c7dbe0a9-64b1-4b6f-8c49-2d7d4a1c0b52",
          "kubernetes.io": {
            "namespace": "{{ns}}",
            "node": { "name": "node-1", "uid": "2a4d8a36-4f0c-46d6-9c9a-5f5d5d6f6b01" },
            "pod": { "name": "{{serviceAccount}}-7c9d8f6b5-x2x7z", "uid": "58fd2bd2-7ee7-4ac6-9d51-8ad1d8a3ba3c" },
            "serviceaccount": { "name": "{{serviceAccount}}", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af" },
            "warnafter": {{Seconds(now, 3000)}}
          },
          "nbf": {{Seconds(now, 0)}}, "sub": "system:serviceaccount:{{ns}}:{{serviceAccount}}"
        }
        """);

    /// <summary>A token that <c>kubectl create token</c> gets from the TokenRequest API, bound to nothing but the service account.</summary>
    public static AssertionDraft Bound(DateTimeOffset now, string issuer = ClusterIssuer) => Of(
        $$"""
        {
          "aud": ["{{AssertionClients.Issuer}}"], "exp": {{Seconds(now, 3600)}}, "iat": {{Seconds(now, 0)}}, "iss": "{{issuer}}",
          "jti": "0f6a4a3e-7b1e-4d5c-9a53-6e6d1f3d8c11",
          "kubernetes.io": {
            "namespace": "shop", "serviceaccount": { "name": "indexer", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af" }
          },
          "nbf": {{Seconds(now, 0)}}, "sub": "system:serviceaccount:shop:indexer"
        }
        """);

    /// <summary>The token of a GitHub Actions job; the <c>sub</c> is of the old form, or of the one with the ids of owner and repository.</summary>
    public static AssertionDraft GitHub(DateTimeOffset now, bool immutable = false, string issuer = GitHubIssuer) => Of(
        $$"""
        {
          "jti": "3c9c2f3b-6f2d-4f0e-8f8f-0b8b8c6c1a54",
          "sub": "repo:{{(immutable ? "acme@123456/shop@456789" : "acme/shop")}}:ref:refs/heads/main", "aud": "{{AssertionClients.Issuer}}",
          "ref": "refs/heads/main", "sha": "0123456789abcdef0123456789abcdef01234567", "repository": "acme/shop", "repository_owner": "acme",
          "repository_owner_id": "123456", "run_id": "8123456789", "run_number": "42", "run_attempt": "1", "repository_visibility": "private",
          "repository_id": "456789", "actor_id": "1001", "actor": "mona", "workflow": "deploy", "head_ref": "", "base_ref": "",
          "event_name": "push", "ref_protected": "true", "ref_type": "branch", "workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
          "workflow_sha": "0123456789abcdef0123456789abcdef01234567", "job_workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
          "job_workflow_sha": "0123456789abcdef0123456789abcdef01234567", "runner_environment": "github-hosted",
          "iss": "{{issuer}}", "nbf": {{Seconds(now, -300)}}, "exp": {{Seconds(now, 300)}}, "iat": {{Seconds(now, 0)}}
        }
        """).WithHeader("typ", "JWT").WithHeader("x5t", "HyR1f1wE0UxlW5x1VbC9aRs5Lw8");

    /// <summary>An id token of a GitLab job (<c>id_tokens</c>).</summary>
    public static AssertionDraft GitLab(DateTimeOffset now, string issuer = GitLabIssuer) => Of(
        $$"""
        {
          "namespace_id": "72", "namespace_path": "acme", "project_id": "20", "project_path": "acme/shop", "user_id": "1", "user_login": "mona",
          "user_email": "mona@example.com", "user_access_level": "maintainer", "pipeline_id": "574", "pipeline_source": "push", "job_id": "302",
          "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true", "groups_direct": ["acme", "acme/ops"],
          "environment": "production", "environment_protected": "true", "deployment_tier": "production", "runner_id": 1,
          "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "private",
          "ci_config_ref_uri": "gitlab.com/acme/shop//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
          "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b", "iss": "{{issuer}}", "iat": {{Seconds(now, 0)}}, "nbf": {{Seconds(now, -5)}},
          "exp": {{Seconds(now, 3600)}}, "sub": "project_path:acme/shop:ref_type:branch:ref:main", "aud": "{{AssertionClients.Issuer}}"
        }
        """).WithHeader("typ", "JWT");

    /// <summary>A JWT-SVID as SPIRE makes it.</summary>
    public static AssertionDraft Svid(DateTimeOffset now, string id = SpiffeId) => Of(
        $$"""
        { "aud": ["{{AssertionClients.Issuer}}"], "exp": {{Seconds(now, 300)}}, "iat": {{Seconds(now, 0)}}, "sub": "{{id}}" }
        """).WithHeader("typ", "JWT");

    private static long Seconds(DateTimeOffset now, int more) => now.ToUnixTimeSeconds() + more;

    private static AssertionDraft Of(string claims)
    {
        var draft = new AssertionDraft("", "", DateTimeOffset.UnixEpoch);
        draft.Claims.Clear();
        foreach (var (name, value) in JsonNode.Parse(claims)!.AsObject())
        {
            draft.Claims[name] = value?.DeepClone();
        }

        return draft;
    }
}
