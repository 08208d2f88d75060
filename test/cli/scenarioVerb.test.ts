import { describe, expect, it } from "vitest";
import { chainwalk, linesOf } from "./commandLine.ts";

const CLUSTER = [
  "apiVersion: v1\nkind: Namespace\nmetadata: { name: default }",
  "apiVersion: v1\nkind: Node\nmetadata: { name: node-1 }\nstatus: { addresses: [{ type: InternalIP, address: 192.168.0.1 }] }",
  "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: { nodeName: node-1 }\nstatus: { phase: Running, podIP: 10.0.0.1 }",
  "apiVersion: v1\nkind: Pod\nmetadata: { name: b }\nspec: { nodeName: node-1 }\nstatus: { phase: Running, podIP: 10.0.0.2 }",
].join("\n---\n");

const scenario = (...steps: readonly string[]) => ({
  "s/cluster.yaml": CLUSTER,
  "s/scenario.yaml": `description: d\nsteps:\n${steps.map((step) => `  - ${step}\n`).join("")}`,
});
const PASSES = "{ packet: 'tcp a > b:80', expect: accept }";
const FAILS = "{ packet: 'tcp b > a:80', expect: drop, because: 'a <reason>' }";
const ABSENT = "{ packet: 'tcp b > a:81', expect: drop, only: { weave-net: 'a reason # here' } }";
const ALL = scenario(PASSES, FAILS, ABSENT);

/** A policy that lets c alone reach a, so that what is expected of b fails, and of c passes. */
const GUARDED = {
  "s/cluster.yaml": [
    CLUSTER,
    "apiVersion: v1\nkind: Pod\nmetadata: { name: c, labels: { app: c } }\nspec: { nodeName: node-1 }\nstatus: { phase: Running, podIP: 10.0.0.3 }",
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: guard }\nspec: { podSelector: {}, policyTypes: [Ingress], ingress: [{ from: [{ podSelector: { matchLabels: { app: c } } }] }] }",
  ].join("\n---\n"),
  "s/scenario.yaml":
    "description: d\nsteps:\n  - { packet: 'tcp b > a:80', expect: accept }\n  - { packet: 'tcp c > a:80', expect: drop }\n",
};

describe("test", () => {
  it("a scenario that holds ends with 0, one that does not with 1, one that cannot be read with 2", async () => {
    const code = async (files: Readonly<Record<string, string>>) => (await chainwalk("test s", { files })).code;
    expect(await code(scenario(PASSES))).toBe(0);
    expect(await code(scenario(PASSES, FAILS))).toBe(1);
    expect(await code(scenario("{ packet: 'tcp a > b:80', expext: accept }"))).toBe(2);
    expect(await code({ ...scenario(PASSES), "s/cluster.yaml": "kind: [" })).toBe(2);
  });

  it("takes a folder, a folder of folders and the file itself", async () => {
    const files = Object.fromEntries(Object.entries(ALL).map(([name, text]) => [`deep/er/${name}`, text]));
    for (const path of ["deep", "deep/er/s", "deep/er/s/scenario.yaml"]) {
      expect(linesOf((await chainwalk(`test ${path}`, { files })).out)[1]).toBe("1..3");
    }
  });

  it("tap: one test for each expectation, the trace where it failed, the reason where it was skipped", async () => {
    const lines = linesOf((await chainwalk("test s", { files: ALL })).out);
    expect(lines.slice(0, 4)).toEqual([
      "TAP version 14",
      "1..3",
      "ok 1 - s [kube-router] step 1: tcp default/a:40000 > default/b:80 S: accept",
      "not ok 2 - s [kube-router] step 2: tcp default/b:40000 > default/a:80 S: drop",
    ]);
    expect(lines).toContain('    - "expected drop, got accept"');
    expect(lines).toContain("    node-1  conntrack: new");
    expect(lines.at(-2)).toBe("ok 3 - s [kube-router] step 3: b > a: drop # SKIP only for weave-net (a reason # here)");
    expect(lines.at(-1)).toBe("# 1 passed, 1 failed, 1 skipped");
  });

  it("shows the shortest walk that explains a failure, in every form", async () => {
    const run = (flags: string) => chainwalk(`test s ${flags}`, { files: GUARDED, env: { GITHUB_ACTIONS: "true" } });
    const { out: json } = await run("-o json");
    const { tests } = JSON.parse(json) as { readonly tests: readonly { readonly trace: readonly string[] }[] };
    const [refused = [], allowed = []] = tests.map(({ trace }) => trace);
    // The rule that would have let it pass, and the one that refused; what only leads there is left out.
    expect(refused.filter((line) => line.includes("×") && line.includes("default/guard ingress[0]"))).toHaveLength(1);
    expect(refused.filter((line) => line.startsWith("►"))).toHaveLength(1);
    // Of one that passes, the rule of the policy that let it.
    expect(allowed.some((line) => line.includes("default/guard ingress[0]") && !line.includes("×"))).toBe(true);
    for (const walk of [refused, allowed]) expect(walk.some((line) => line.includes(" jump "))).toBe(false);
    const summary = await chainwalk("trace -f s/cluster.yaml --from b --to a --port 80", { files: GUARDED });
    expect(refused.length).toBeLessThan(linesOf(summary.out).length);
    const told = refused.find((line) => line.startsWith("►")) ?? "";
    expect((await run("-o tap")).out).toContain(told);
    expect((await run("-o md")).out).toContain(told);
    expect((await run("-o junit")).out).toContain(told.replaceAll("<", "&lt;").replaceAll(">", "&gt;"));
    expect((await run("-o table")).err).toContain(told.replaceAll("%", "%25"));
  });

  it("junit: suites, counts, and text that is well-formed whatever it says", async () => {
    const { out } = await chainwalk("test s -o junit", { files: ALL });
    expect(out).toContain('<testsuites name="chainwalk" tests="3" failures="1" skipped="1">');
    expect(out).toContain('<testsuite name="s [kube-router]" tests="3" failures="1" skipped="1">');
    expect(out).toContain("a &lt;reason&gt;");
    expect(out.match(/<testcase /g)).toHaveLength(3);
    const open = [...out.matchAll(/<(\w+)[^>]*[^/?]>/g)].map(([, name]) => name).sort();
    const closed = [...out.matchAll(/<\/(\w+)>/g)].map(([, name]) => name).sort();
    expect(open).toEqual(closed);
  });

  it("json, md and table say the same counts", async () => {
    const json: unknown = JSON.parse((await chainwalk("test s -o json", { files: ALL })).out);
    expect(json).toMatchObject({ passed: 1, failed: 1, skipped: 1, tests: [{ step: 1 }, { step: 2 }, { step: 3 }] });
    expect((await chainwalk("test s -o md", { files: ALL })).out).toContain("| s | kube-router | 1 | 1 | 1 |");
    const table = linesOf((await chainwalk("test s -o table", { files: ALL })).out);
    expect(table[1]).toMatch(/^s +kube-router +1 +1 +1$/);
    expect(table.at(-1)).toBe("1 passed, 1 failed, 1 skipped");
  });

  it("annotates the line of the scenario in GitHub Actions, and only there", async () => {
    expect((await chainwalk("test s", { files: ALL })).err).toBe("");
    const { err } = await chainwalk("test s", { files: ALL, env: { GITHUB_ACTIONS: "true" } });
    expect(err).toMatch(
      /^::error file=s\/scenario\.yaml,line=4,title=kube-router%2C step 2::expected drop, got accept%0A/,
    );
    expect(linesOf(err)).toHaveLength(1);
  });

  it("--schema prints the JSON Schema and runs nothing", async () => {
    const schema: unknown = JSON.parse((await chainwalk("test --schema")).out);
    expect(schema).toMatchObject({ title: "chainwalk scenario", required: ["description", "steps"] });
  });

  const unreadable: readonly (readonly [what: string, step: string, message: string])[] = [
    ["a typo", "{ packet: 'tcp a > b:80', expct: accept }", "expct"],
    ["no expectation", "{ packet: 'tcp a > b:80' }", "expect"],
    ["an unknown verdict", "{ packet: 'tcp a > b:80', expect: deny }", "accept"],
    ["no packet", "{ expect: accept }", "protocol"],
    ["a packet twice", "{ packet: 'tcp a > b:80', source: a, expect: accept }", "source is given beside packet"],
    ["no port", "{ packet: 'tcp a > b', expect: accept }", "b has no port"],
    ["an unknown pod", "{ packet: 'tcp a > c:80', expect: accept }", "unknown pod default/c"],
    ["time that runs back", "{ packet: 'tcp a > b:80', expect: accept, time: -1 }", "time"],
    ["an unknown strategy", "{ packet: 'tcp a > b:80', expect: accept, except: { kube-ruoter: why } }", "kube-router"],
    ["a change of nothing", "{ delete: Pod default/c }", "there is no Pod default/c"],
    ["a change to something invalid", "{ setAddress: { pod: default/a, address: here } }", "here"],
    [
      "a kind without a say",
      "{ apply: { apiVersion: v1, kind: Service, metadata: { name: s } } }",
      "NetworkPolicy, Pod",
    ],
    ["no step at all", "5", "a step is a packet or a change"],
  ];

  it.each(unreadable)("%s is an issue with its line, exit 2", async (_what, step, message) => {
    const { code, err } = await chainwalk("test s", { files: scenario(step) });
    expect(err).toContain(message);
    expect(err).toMatch(/^s\/scenario\.yaml:3:\d+: error: /);
    expect(code).toBe(2);
  });
});
