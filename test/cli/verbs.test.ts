import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { chainwalk, linesOf } from "./commandLine.ts";

const DB = "-f scenarios/db-policy";
const POLICY = [
  "apiVersion: networking.k8s.io/v1",
  "kind: NetworkPolicy",
  "metadata: { name: p }",
  "spec: { podSelector: {} }",
].join("\n");

describe("validate", () => {
  it("counts what is valid", async () => {
    expect(await chainwalk(`validate ${DB}`)).toEqual({
      code: 0,
      out: "valid: 1 policy, 6 pods, 4 namespaces, 2 nodes\n",
      err: "",
    });
  });

  it("reports every issue at once, as data, with its place; exit 2", async () => {
    const files = { "bad.yaml": `${POLICY}\n---\n${POLICY.replace("podSelector", "podSelectors")}\n` };
    const { code, out } = await chainwalk("validate -f bad.yaml -o json", { files });
    expect(code).toBe(2);
    const issues: unknown = JSON.parse(out);
    expect(issues).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          severity: "error",
          file: "bad.yaml",
          line: 9,
          message: expect.stringContaining("podSelector"),
        }),
      ]),
    );
    const table = linesOf((await chainwalk("validate -f bad.yaml", { files })).out);
    expect(table).toContainEqual(expect.stringMatching(/^bad\.yaml:9:\d+ +error /));
  });

  it("warnings alone are fine, and are data here", async () => {
    const pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: a, namespace: implied }\n";
    const files = { "p.yaml": `${POLICY}\n---\n${pod}` };
    const { code, out } = await chainwalk("validate -f p.yaml", { files });
    expect(code).toBe(0);
    expect(out).toContain("warning");
  });

  it("reads folders recursively, standard input, JSON, and several -f; never a scenario's steps", async () => {
    const folder = {
      "in/a.yaml": POLICY,
      "in/deep/b.yml": POLICY.replace("name: p", "name: q"),
      "in/scenario.yaml": "steps: []",
      "in/notes.txt": "x",
    };
    expect((await chainwalk("validate -f in", { files: folder })).out).toContain("valid: 2 policies");
    const object = {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "r" },
      spec: { podSelector: {} },
    };
    const both = await chainwalk("validate -f in -f -", { files: folder, stdin: JSON.stringify(object) });
    expect(both.out).toContain("valid: 3 policies");
  });

  it("says what kinds it skipped, on stderr", async () => {
    const files = { "p.yaml": `${POLICY}\n---\napiVersion: v1\nkind: Service\nmetadata: { name: s }\n` };
    const { err } = await chainwalk("validate -f p.yaml", { files });
    expect(err).toBe("note: skipped 1 object of other kinds: v1 Service 1\n");
  });
});

describe("matrix", () => {
  it("json is as in the contract: one string per source, one letter per destination", async () => {
    const { out } = await chainwalk(`matrix ${DB} --port tcp/3306,udp/53 -o json`);
    expect(JSON.parse(out)).toEqual({
      strategy: "kube-router",
      pods: ["default/db", "default/frontend", "default/intruder", "kube-system/dns", "myns/mypod", "prod/api-pod"],
      ports: ["tcp/3306", "udp/53"],
      verdicts: {
        "tcp/3306": ["#RRRRR", "R#....", "R.#...", "R..#..", "R...#.", ".....#"],
        "udp/53": ["#RR.RR", "R#....", "R.#...", "R..#..", "R...#.", "R....#"],
      },
    });
  });

  it("asks for the ports that the cluster speaks of when none are named", async () => {
    const { out } = await chainwalk(`matrix ${DB} -o json -s reference`);
    expect(JSON.parse(out).ports).toEqual(["tcp/53", "tcp/80", "tcp/3000", "tcp/3306", "tcp/8080", "udp/53"]);
  });

  it.each([...STRATEGIES.map(({ name }) => name), "reference"])("%s: every cell is what trace says", async (name) => {
    const [line = ""] = linesOf((await chainwalk(`matrix ${DB} --port tcp/3306 -o json -s ${name}`)).out);
    const { pods, verdicts } = JSON.parse(line);
    for (const [row, from] of pods.entries()) {
      for (const [column, to] of pods.entries()) {
        if (row === column) continue;
        const { out } = await chainwalk(`trace ${DB} --from ${from} --to ${to} --port 3306 -o json -s ${name}`);
        const letter = { accept: ".", drop: "X", reject: "R" }[String(JSON.parse(out).verdict)];
        expect(`${from} > ${to} ${verdicts["tcp/3306"][row][column]}`).toBe(`${from} > ${to} ${letter}`);
      }
    }
  });

  it("-n keeps to one namespace, -A to none", async () => {
    const pods = async (flags: string) =>
      JSON.parse((await chainwalk(`matrix ${DB} --port tcp/80 -o json ${flags}`)).out).pods.length;
    expect([await pods("-n default"), await pods("-A"), await pods("-n default -A")]).toEqual([3, 6, 6]);
    expect((await chainwalk(`matrix ${DB} -n nowhere`)).code).toBe(2);
  });

  it("table and md show the same cells under names", async () => {
    const table = linesOf((await chainwalk(`matrix ${DB} --port tcp/3306`)).out);
    expect(table[0]).toMatch(/^ +kube-router {2}tcp\/3306 1 2 3 4 5 6$/);
    expect(table[1]).toBe("1 default/db            # R R R R R");
    const md = linesOf((await chainwalk(`matrix ${DB} --port tcp/3306 -o md`)).out);
    expect(md).toContain("| default/db | # | R | R | R | R | R |");
  });
});

describe("compile", () => {
  it("prints the node's rules and sets, nothing else, on stdout", async () => {
    const rules = await chainwalk(`compile ${DB} --node node-a`);
    expect(rules).toMatchObject({ code: 0, err: "" });
    expect(linesOf(rules.out)[1]).toBe("*filter");
    expect(linesOf(rules.out).at(-2)).toBe("COMMIT");
    const sets = linesOf((await chainwalk(`compile ${DB} --node node-a -o ipset-save`)).out);
    expect(sets).toContainEqual(expect.stringMatching(/^add KUBE-SRC-\S+ 10\.10\.2\.10 timeout 0$/));
  });

  it("--set reaches the strategy", async () => {
    const names = async (version: string) =>
      linesOf((await chainwalk(`compile ${DB} --node node-a --set chain-version=${version}`)).out)
        .filter((line) => line.startsWith(":KUBE-POD-FW-"))
        .sort();
    expect(await names("1")).not.toEqual(await names("2"));
    expect(await names("1")).toEqual(await names("1"));
  });

  it("--origins says before each rule where it comes from", async () => {
    const lines = linesOf((await chainwalk(`compile ${DB} --node node-a --origins`)).out);
    expect(lines[lines.indexOf("# default/db-policy ingress[0].from[1]") + 1]).toMatch(/^-A KUBE-NWPLCY-/);
  });

  it.each(STRATEGIES.map(({ name }) => name))("%s: json is the program, and summary counts it", async (name) => {
    const program = JSON.parse((await chainwalk(`compile ${DB} --node node-a -o json -s ${name}`)).out);
    expect(program).toMatchObject({ strategy: name, node: "node-a" });
    const rows = linesOf((await chainwalk(`compile ${DB} -o summary -s ${name}`)).out);
    expect(rows.slice(1).map((row) => row.split(/ +/).slice(0, 2))).toEqual([
      [name, "node-a"],
      [name, "node-b"],
    ]);
    const counts = (rows[1] ?? "").split(/ +/).slice(2).map(Number);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
  });

  it("an IPv4 cluster has nothing in ip6tables", async () => {
    expect(await chainwalk(`compile ${DB} --node node-a -o ip6tables-save`)).toEqual({ code: 0, out: "", err: "" });
    const { out } = await chainwalk("compile -f scenarios/dual-stack --node node-a -o ip6tables-save");
    expect(out).toContain("fd00:10:1::10/128");
  });
});

describe("completion", () => {
  it.each(["bash", "zsh", "fish"])("%s knows every verb, its flags and their values", async (shell) => {
    const { code, out } = await chainwalk(`completion ${shell}`);
    expect(code).toBe(0);
    for (const word of ["validate", "trace", "matrix", "kubectl-chainwalk", "icmp-type", "iptables-trace", "junit"]) {
      expect(out).toContain(word);
    }
  });

  it.each([
    ["chainwalk val", "validate"],
    ["chainwalk trace --icmp", "--icmp-type --icmp-code"],
    ["chainwalk trace -o js", "json jsonl"],
    ["chainwalk test --output j", "junit json"],
  ])("bash completes %j to %j", async (line, completions) => {
    const { out } = await chainwalk("completion bash");
    const words = line.split(" ");
    const script = `${out}\nCOMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _chainwalk; echo "\${COMPREPLY[*]}"`;
    expect(execFileSync("bash", ["-c", script], { encoding: "utf8" })).toBe(`${completions}\n`);
  });
});
