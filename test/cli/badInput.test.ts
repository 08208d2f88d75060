import { describe, expect, it } from "vitest";
import { isWhole } from "../extent.ts";
import { chainwalk } from "./commandLine.ts";

const policy = (spec: string, head = "name: p") =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { ${head} }\nspec:\n  podSelector: {}\n${spec}`;
const block = (fields: string) => policy(`  ingress: [{ from: [{ ipBlock: ${fields} }] }]\n`);
const port = (fields: string) => policy(`  ingress: [{ ports: [${fields}] }]\n`);
const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${[..."bcdefghij"].map((name, index) => `${name}: &${name} [${`*${"abcdefghi"[index]}, `.repeat(9)}]`).join("\n")}\n`;

/** What the API server refuses, or nobody could read; the issue names what is wrong. */
const ERRORS: readonly (readonly [what: string, text: string, message: RegExp])[] = [
  ["an empty file", "", /no object/],
  ["broken YAML", "kind: [a", /error/],
  ["tabs", "kind:\n\tPod: x\n", /error/],
  ["an alias bomb", bomb, /alias/i],
  ["a host name in cidr", block("{ cidr: example.com }"), /example\.com/],
  ["except outside its block", block("{ cidr: 10.0.0.0/8, except: [11.0.0.0/16] }"), /11\.0\.0\.0\/16/],
  ["endPort below port", port("{ port: 80, endPort: 79 }"), /endPort/],
  ["a policy twice", `${policy("")}---\n${policy("")}`, /p/],
  ["a NetworkPolicy of v1beta1", policy("").replace("networking.k8s.io/v1", "networking.k8s.io/v1beta1"), /v1beta1/],
  ["a policy in a namespace that does not exist", policy("", "name: p, namespace: nowhere"), /nowhere/],
  ["port 0", port("{ port: 0 }"), /1.*65535/],
  ["port 65536", port("{ port: 65536 }"), /1.*65535/],
  ["an unknown field that is a typo", policy("").replace("podSelector", "podSelectors"), /podSelector/],
  [
    "a pod whose address is none",
    "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nstatus: { phase: Running, podIP: here }\n",
    /here/,
  ],
];

/** What the API accepts and a person should know. */
const WARNINGS: readonly (readonly [what: string, text: string, message: RegExp])[] = [
  [
    "two pods with one address",
    ["a", "b"]
      .map(
        (name) =>
          `apiVersion: v1\nkind: Pod\nmetadata: { name: ${name} }\nstatus: { phase: Running, podIP: 10.0.0.1 }\n`,
      )
      .join("---\n"),
    /10\.0\.0\.1/,
  ],
];

describe("bad input", () => {
  it.each(ERRORS)("%s: an issue, exit 2, no stack, within a second", async (_what, text, message) => {
    const before = process.cpuUsage();
    for (const command of ["trace -f in.yaml --from a --to b", "compile -f in.yaml", "matrix -f in.yaml"]) {
      const { code, out, err } = await chainwalk(command, { files: { "in.yaml": text } });
      expect(err).toMatch(message);
      expect(err).toMatch(/^in\.yaml(?::\d+:\d+)?: error: /m);
      expect(err).not.toMatch(/\n\s+at .*\.ts/);
      expect({ code, out }).toEqual({ code: 2, out: "" });
    }
    // Three commands, a second of processor time each: the other tests of the run share the machine.
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6).toBeLessThan(3);
    expect((await chainwalk("validate -f in.yaml", { files: { "in.yaml": text } })).code).toBe(2);
  });

  it.each(WARNINGS)("%s: a warning, and the command goes on", async (_what, text, message) => {
    const { code, err } = await chainwalk("matrix -f scenarios/db-policy -f in.yaml --port tcp/80", {
      files: { "in.yaml": text },
    });
    expect(err).toMatch(message);
    expect(err).toMatch(/^in\.yaml.*: warning: /m);
    expect(code).toBe(0);
  });

  it("sends no control character to the terminal, of a save nor of what is wrong with it", async () => {
    const rules = (lines: string) => `*filter\n:FORWARD ACCEPT [0:0]\n${lines}\nCOMMIT\n`;
    const run = (text: string) =>
      chainwalk(
        "trace -f scenarios/db-policy/cluster.yaml --node node-a --iptables-save a.rules --from intruder --to db -o detailed",
        { files: { "a.rules": text } },
      );
    const comment = await run(rules(`-A FORWARD -m comment --comment "\u001b[31mred" -m strange --x "\u0007" -j DROP`));
    const wrong = await run(rules("-A FORWARD -s \u001b[2J -j DROP"));
    expect([comment.out + comment.err, wrong.out + wrong.err].join("")).not.toMatch(/[^\P{Cc}\n\t]/u);
    expect(comment.out).toContain("\\x07");
    expect(wrong.err).toContain("-s \\x1b[2J: want an IPv4 address");
  });

  it("a folder without manifests", async () => {
    const { code, err } = await chainwalk("validate -f test/cli");
    expect({ code, err }).toMatchObject({ code: 2, err: expect.stringContaining("no manifests in this folder") });
  });

  const large = isWhole ? 50 : 10;
  it(`a label of ${large} MB: an issue, exit 2, at ten times the cost of one of a tenth`, async () => {
    const costs: number[] = [];
    for (const megabytes of [large / 10, large]) {
      const label = Buffer.alloc(megabytes * 1_000_000, "x").toString();
      const text = `apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    app: ${label}\n`;
      // Processor time: the other tests of the run share the machine.
      const before = process.cpuUsage();
      const { code, err } = await chainwalk("trace -f in.yaml --from a --to b", { files: { "in.yaml": text } });
      const { user, system } = process.cpuUsage(before);
      costs.push(user + system);
      expect(code).toBe(2);
      expect(err).toMatch(/^in\.yaml:6:\d+: error: /m);
      expect(err.length).toBeLessThan(10_000);
    }
    const [ofTenth = 0, ofWhole = 0] = costs;
    // Something quadratic would cost a hundred times as much.
    expect(ofWhole / ofTenth).toBeLessThan(40);
  });
});

it("chains of a node deeper than any stack of calls are looked through as well", async () => {
  const chains = Array.from({ length: 15_000 }, (_, chain) => chain);
  const save = [
    "*filter",
    ":FORWARD ACCEPT [0:0]",
    ...chains.map((chain) => `:C${chain} - [0:0]`),
    "-A FORWARD -j C0",
    ...chains.slice(1).map((chain) => `-A C${chain - 1} -j C${chain}`),
    "COMMIT\n",
  ].join("\n");
  const flags = "-f scenarios/db-policy -s kube-router --node node-a --iptables-save deep.save -q";
  const files = { "deep.save": save };
  expect(await chainwalk(`lint ${flags}`, { files })).toEqual({ code: 0, out: "nothing found\n", err: "" });
  const verified = await chainwalk(`verify ${flags} -o json`, { files });
  expect(verified).toMatchObject({ code: 1, err: "" });
});
