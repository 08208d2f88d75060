import { expect, it } from "vitest";
import { chainwalk, linesOf } from "./commandLine.ts";

const REOPENED = "scenarios/kube-router-except-hides-sibling-blocks/cluster.yaml";

it("finds nothing in a cluster that says what it means; exit 0", async () => {
  expect(await chainwalk("lint -f scenarios/db-policy")).toMatchObject({ code: 0, out: "nothing found\n", err: "" });
});

it("says where each finding is; exit 1", async () => {
  const { code, out } = await chainwalk(`lint -f ${REOPENED}`);
  expect(code).toBe(1);
  expect(linesOf(out)).toContainEqual(
    expect.stringMatching(/^scenarios\/.+\/cluster\.yaml:\d+:\d+: except-reopened spec\.ingress\[0\]\.from\[1\]/),
  );
  expect(linesOf(out).at(-1)).toBe("2 findings");
});

it("points at the exception and at the selector themselves", async () => {
  const policy = `kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: { name: one, namespace: shop }
spec:
  policyTypes: [Ingress]
  podSelector: { matchLabels: { app: web } }
  ingress:
    - from: [{ ipBlock: { cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16] } }, { ipBlock: { cidr: 10.2.3.0/24 } }]`;
  const pod = `kind: Pod
apiVersion: v1
metadata: { name: web, namespace: shop, labels: { app: web } }
status: { podIP: 10.9.0.1 }`;
  const nobody = policy.replace("app: web", "app: gone").replace("name: one", "name: two");
  const text = [pod, policy, nobody].join("\n---\n");
  const { out } = await chainwalk("lint -f a.yaml -o json", { files: { "a.yaml": text } });
  const lines = text.split("\n");
  const pointed = (JSON.parse(out) as Issue[]).map(({ code, line, column }) => {
    const found = lines[line - 1]?.slice(column - 1) ?? "";
    return `${code} ${found.slice(0, 11)}`;
  });
  expect(pointed).toEqual(["except-reopened 10.2.0.0/16", "selects-nobody { matchLabe"]);
});

it("is JSON on request, a list of issues", async () => {
  const { out } = await chainwalk(`lint -f ${REOPENED} -o json`);
  expect(JSON.parse(out)).toContainEqual({
    code: "except-reopened",
    severity: "warning",
    message: "172.20.5.0/24 is excepted here, but is allowed again by shop/web spec.ingress[0].from[0]",
    file: REOPENED,
    line: expect.any(Number),
    column: expect.any(Number),
    path: "spec.ingress[0].from[1].ipBlock.except[0]",
  });
});

it("is SARIF on request: every result names its rule and a region of the manifest", async () => {
  const { code, out } = await chainwalk(`lint -f ${REOPENED} -o sarif`);
  expect(code).toBe(1);
  const log: SarifLog = JSON.parse(out);
  expect(log.version).toBe("2.1.0");
  const [run] = log.runs;
  const results = run?.results ?? [];
  expect(results.length).toBe(2);
  for (const { ruleId, ruleIndex, level, message, locations } of results) {
    expect(run?.tool.driver.rules[ruleIndex]?.id).toBe(ruleId);
    expect(level).toBe("warning");
    expect(message.text).not.toBe("");
    expect(locations[0]?.physicalLocation.artifactLocation.uri).toBe(REOPENED);
    expect(locations[0]?.physicalLocation.region.startLine).toBeGreaterThan(0);
  }
});

type Issue = { readonly code: string; readonly line: number; readonly column: number };

interface SarifLog {
  readonly version: string;
  readonly runs: readonly {
    readonly tool: { readonly driver: { readonly rules: readonly { readonly id: string }[] } };
    readonly results: readonly {
      readonly ruleId: string;
      readonly ruleIndex: number;
      readonly level: string;
      readonly message: { readonly text: string };
      readonly locations: readonly {
        readonly physicalLocation: {
          readonly artifactLocation: { readonly uri: string };
          readonly region: { readonly startLine: number };
        };
      }[];
    }[];
  }[];
}

it("tells of rules of a node's saves that no packet can match, at the policy that their comment names", async () => {
  const save = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p tcp -j ACCEPT
-A FORWARD -p tcp -m tcp --dport 80 -m comment --comment "policy db-policy of default" -j DROP
-A FORWARD -p tcp -m tcp --dport 81 -j DROP
COMMIT
`;
  const command = "lint -f scenarios/db-policy --node node-a --iptables-save save.txt";
  const told = await chainwalk(`${command} -s kube-router`, { files: { "save.txt": save } });
  expect(told.code).toBe(1);
  const lines = linesOf(told.out);
  expect(lines).toHaveLength(5);
  expect(lines[0]).toBe("save.txt:7:1: dead-rule filter FORWARD 3");
  expect(lines[2]).toMatch(/^scenarios\/db-policy\/.*:\d+:\d+: dead-rule spec$/);
  expect(lines[3]).toBe(
    "  node-a: IPv4 rule 2 of filter FORWARD can never match: rule 1 above it takes every such packet (save.txt:6)",
  );
  const sarif = await chainwalk(`${command} -s kube-router -o sarif`, { files: { "save.txt": save } });
  expect(JSON.parse(sarif.out)).toMatchObject({
    runs: [{ results: [{ ruleId: "dead-rule" }, { ruleId: "dead-rule" }] }],
  });
  expect(await chainwalk(command, { files: { "save.txt": save } })).toMatchObject({
    code: 2,
    err: expect.stringContaining("name it with -s NAME"),
  });
});

it("refuses what is no valid cluster; exit 2", async () => {
  const { code, out } = await chainwalk("lint -f bad.yaml", { files: { "bad.yaml": "kind: NetworkPolicy\n" } });
  expect([code, out]).toEqual([2, ""]);
});
