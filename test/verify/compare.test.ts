/** compare on the bundled scenarios: every difference has a declared cause, and every form says the same. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { type ComparisonStyle, formatComparison } from "../../format/compare.ts";
import { chainwalk, linesOf } from "../cli/commandLine.ts";
import { isWhole, sampled } from "../extent.ts";

const ADDRESS = parseAddress("10.0.0.1");
if (ADDRESS === undefined) throw new Error("10.0.0.1 is an address");
const PACKET = makePacket({ protocol: PROTOCOL.tcp, source: ADDRESS, destination: ADDRESS });

const SCENARIOS = readdirSync(join(import.meta.dirname, "..", "..", "scenarios"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

/** Enough for every class of most scenarios; the rest is a sample in a fixed order. */
const LIMIT = isWhole ? 3000 : 800;

interface JsonGroup {
  readonly cause: string;
  readonly packets: number;
  readonly example: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly verdicts: Readonly<Record<string, string>>;
  readonly results: readonly { readonly strategy: string; readonly verdict: string }[];
}

describe("causes", () => {
  // Every third in CI: that nothing undeclared differs is proven of every scenario by the exhaustive check.
  const asked = isWhole ? SCENARIOS.filter((_, index) => index % 3 === 0) : sampled(SCENARIOS, 4);
  it.each(asked)("%s: all that strategies differ in is declared", async (scenario) => {
    const { out } = await chainwalk(`compare -f scenarios/${scenario} -s all -o json --limit ${LIMIT}`);
    const { groups, strategies }: { groups: readonly JsonGroup[]; strategies: readonly string[] } = JSON.parse(out);
    expect(strategies).toEqual([...STRATEGIES.map(({ name }) => name), "reference"]);
    for (const { cause, text, verdicts, results } of groups) {
      expect(cause, text).not.toContain("no declared deviation");
      expect(cause, text).not.toBe("");
      // The example is walked anew to be shown, and gets the verdict it was found with.
      expect(Object.fromEntries(results.map((one) => [one.strategy, one.verdict]))).toEqual(verdicts);
      // Exactly those whose verdict is not the API's are named.
      const differing = strategies.filter(
        (name) => (verdicts[name] === "accept") !== (verdicts.reference === "accept"),
      );
      expect(cause.split("; ").map((one) => one.split(": ")[0])).toEqual(differing);
    }
  });
});

describe("the forms of compare", () => {
  const said = new Map<string, ReturnType<typeof chainwalk>>();

  /** What is said with such flags. It is asked once, though several tests read it. */
  function compared(flags: string): ReturnType<typeof chainwalk> {
    const known = said.get(flags) ?? chainwalk(`compare -f scenarios/db-policy -s kube-router,cilium-ebpf ${flags}`);
    said.set(flags, known);
    return known;
  }

  it("json has the fields of the public contract, and the code says that there are differences", async () => {
    const { out, code } = await compared("-o json");
    const report = JSON.parse(out);
    expect(code).toBe(1);
    expect(report.strategies).toEqual(["kube-router", "cilium-ebpf", "reference"]);
    expect(report.coverage).toBe(1);
    expect(report.groups.length).toBeGreaterThan(1);
    for (const group of report.groups) {
      expect(group).toMatchObject({
        cause: expect.any(String),
        packets: expect.any(Number),
        example: { source: expect.any(String), destination: expect.any(String) },
        text: expect.stringContaining(" > "),
      });
      expect(group.packets).toBeGreaterThan(0);
    }
    expect(Object.keys(report.cost)).toEqual(["kube-router", "cilium-ebpf"]);
    for (const field of ["rules", "chains", "sets", "setEntries", "mapEntries", "bytes"]) {
      expect(report.cost["kube-router"][field], field).toEqual(expect.any(Number));
    }
    const [least, median, most] = report.cost["kube-router"].rulesPerNewPacket;
    expect(least).toBeLessThanOrEqual(median);
    expect(median).toBeLessThanOrEqual(most);
    expect(report.cost["cilium-ebpf"].trieLookupsPerNewPacket[2]).toBeGreaterThan(0);
  });

  it("the examples are packets that trace reads, and get the verdicts of their group", async () => {
    const { groups }: { groups: readonly JsonGroup[] } = JSON.parse((await compared("-o json")).out);
    const stdin = groups.map(({ example }) => JSON.stringify(example)).join("\n");
    for (const strategy of ["kube-router", "cilium-ebpf", "reference"]) {
      const { out } = await chainwalk(`trace -f scenarios/db-policy -s ${strategy} --packets - --fresh`, { stdin });
      const verdicts = linesOf(out).map((line) => JSON.parse(line).verdict);
      expect(verdicts).toEqual(groups.map((group) => group.verdicts[strategy]));
    }
  });

  it("the table fits 100 columns and names the rule or entry that decided", async () => {
    const { out } = await compared("");
    expect(out.split("\n").filter((line) => [...line].length > 100)).toEqual([]);
    expect(out).toMatch(/^ {4}kube-router +reject +node-a filter KUBE-POD-FW-\w+ \d+ \(default\/db-policy\)$/m);
    expect(out).toMatch(/^ {4}cilium-ebpf +drop +node-a cilium_policy/m);
  });

  it("--walks adds the walk under every strategy", async () => {
    const [short, long] = [await compared(""), await compared("--walks")];
    expect(short.out).not.toContain("conntrack: new");
    expect(long.out).toContain("conntrack: new");
    expect(long.out).toContain("KUBE-ROUTER-FORWARD");
  });

  it("Markdown tables have as many cells in every row", async () => {
    const { out } = await compared("-o md --walks");
    const tables = out.split("\n\n").filter((part) => part.startsWith("| "));
    expect(tables.length).toBeGreaterThan(4);
    for (const table of tables) {
      const cells = table
        .trim()
        .split("\n")
        .map((line) => line.match(/(?<!\\)\|/g)?.length);
      expect(new Set(cells).size, table).toBe(1);
    }
    expect((out.match(/^```$/gm)?.length ?? 1) % 2).toBe(0);
  });

  it("HTML has every element closed, and the data can be read from it", async () => {
    const [{ out }, json] = [await compared("-o html"), await compared("-o json")];
    for (const tag of [
      "table",
      "thead",
      "tbody",
      "tr",
      "td",
      "th",
      "ul",
      "li",
      "pre",
      "details",
      "section",
      "script",
    ]) {
      const opened = out.match(new RegExp(`<${tag}[ >]`, "g"))?.length;
      expect(out.match(new RegExp(`</${tag}>`, "g"))?.length, tag).toBe(opened);
    }
    const data = /<script type="application\/json" id="data">(.*)<\/script>/.exec(out)?.[1] ?? "";
    expect(JSON.parse(data)).toEqual(JSON.parse(json.out));
    expect(out).not.toMatch(/(?:src|href)=/);
  });

  it("what a limit leaves out is said in every form", async () => {
    const [table, md, html] = await Promise.all(
      ["table", "md", "html"].map(async (form) => (await compared(`--limit 300 -o ${form}`)).out),
    );
    const { out, code } = await compared("--limit 300 -o json");
    const { coverage, notCovered }: { coverage: number; notCovered: readonly string[] } = JSON.parse(out);
    expect(code).not.toBe(0);
    expect(coverage).toBeLessThan(1);
    expect(notCovered).toContainEqual(expect.stringMatching(/^from .+ to any address, every protocol and port$/));
    const left = notCovered.map((box) => `not covered: ${box}`);
    const unwrapped = table?.replaceAll(/\n {4}(?=\S)/g, " ");
    for (const line of left) {
      expect(unwrapped).toContain(`\n  ${line}\n`);
      expect(md?.replaceAll("\\", "")).toContain(`\n- ${line}\n`);
      expect(html).toContain(`<li>${line}</li>`);
    }
    expect(JSON.parse((await compared("-o json")).out)).toMatchObject({ coverage: 1, notCovered: [] });
  });

  it("text from outside stays text", () => {
    const attack = '<img src=x onerror="1"></script>|*_[';
    const style: Omit<ComparisonStyle, "format"> = {
      walks: "shown",
      columns: undefined,
      show: () => attack,
      sides: () => [],
    };
    const group = { cause: attack, packets: 1n, tuples: 1, verdicts: {}, boxes: [attack], example: PACKET };
    const coverage = { tuples: 1, packets: 1n, total: 1n, left: [] };
    const comparison = { strategies: [attack], groups: [group], cost: {}, coverage };
    const html = formatComparison(comparison, { ...style, format: "html" }).join("\n");
    expect(html).not.toContain("<img");
    expect(html.match(/<\/script>/g)).toHaveLength(1);
    const md = formatComparison(comparison, { ...style, format: "md" }).filter((line) => !line.startsWith("`"));
    expect(md.join("\n")).not.toMatch(/(?<!\\)<img/);
  });
});

describe("a node that was imported", () => {
  const cluster = "scenarios/db-policy/cluster.yaml";
  const command = `compare -f ${cluster} --iptables-save a.rules --ipset-save a.sets --node node-a -o json`;

  async function saves(change: (rules: string) => string) {
    const text = async (form: string) => (await chainwalk(`compile -f ${cluster} --node node-a -o ${form}`)).out;
    return { files: { "a.rules": change(await text("iptables-save")), "a.sets": await text("ipset-save") } };
  }

  it("differs from what the policies mean on that node in what its solution declares, and in nothing else", async () => {
    const { out, code } = await chainwalk(command, await saves((rules) => rules));
    const { groups, strategies, coverage, cost }: { groups: readonly JsonGroup[] } & Record<string, unknown> =
      JSON.parse(out);
    expect([code, strategies, coverage]).toEqual([1, ["kube-router", "reference"], 1]);
    expect(cost).toMatchObject({ "kube-router": { rules: expect.any(Number) } });
    expect(groups.map(({ cause }) => cause)).toEqual([
      "kube-router: own-node-is-policed",
      "kube-router: ping-always-allowed",
    ]);
  });

  it("shows a rule that somebody took out", async () => {
    const changed = await saves((rules) => rules.replace(/^-A KUBE-POD-FW-\w+ .*-j REJECT.*$/gm, ""));
    const { groups }: { groups: readonly JsonGroup[] } = JSON.parse((await chainwalk(command, changed)).out);
    const leak = groups.find(({ cause }) => cause === "kube-router: no declared deviation");
    expect(leak?.verdicts).toEqual({ "kube-router": "accept", reference: "drop" });
    expect(leak?.text).toContain("default/db");
  });

  it("needs --node where the manifests have several", async () => {
    const { err, code } = await chainwalk(command.replace(" --node node-a", ""), await saves((rules) => rules));
    expect([code, err]).toEqual([2, expect.stringContaining("--node is needed: which of node-a, node-b")]);
  });
});
