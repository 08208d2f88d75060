import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { sampled } from "../extent.ts";
import { chainwalk, jsonLines, linesOf } from "./commandLine.ts";

const INTRUDER = "trace -f scenarios/db-policy --from intruder --to db --port 3306";
const API = "trace -f scenarios/db-policy --from prod/api-pod --to default/db --port 3306";

describe("trace, the picture", () => {
  it("of the intruder is as reviewed", async () => {
    const { code, out, err } = await chainwalk(INTRUDER);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    await expect(out).toMatchFileSnapshot(join(import.meta.dirname, "db-policy.kube-router.txt"));
  });

  it.each([INTRUDER, API])(
    "%s: columns stand under each other, one line decides, no line ends in blanks",
    async (command) => {
      const lines = linesOf((await chainwalk(command)).out);
      expect(lines.filter((line) => line.endsWith(" "))).toEqual([]);
      const rules = lines.filter((line) => /^[ ►] {2}.* \d+(?:-\d+)? {2}/.test(line));
      expect(rules.length).toBeGreaterThan(8);
      const ends = rules
        .map((line) => / (\d+(?:-\d+)?) {2}\S/.exec(line))
        .map((match) => (match?.index ?? 0) + (match?.[0].length ?? 0));
      expect(new Set(ends).size).toBe(1);
      expect(lines.filter((line) => line.startsWith("►"))).toHaveLength(2);
      expect(lines.find((line) => /^(?:accept|reject): /.test(line))).toContain("default/db");
    },
  );

  it("shows the policy path of the rule that allowed, and of those that did not match", async () => {
    expect((await chainwalk(API)).out).toMatch(
      /mark 0 → 0x10000, return +default\/db-policy ingress\[0\]\.from\[0\]\n/,
    );
    expect((await chainwalk(INTRUDER)).out).toMatch(
      /× 10\.10\.2\.11 not a member +default\/db-policy ingress\[0\]\.from\[0\]\n/,
    );
  });

  it("detailed has every rule that was evaluated: as many lines as the work says, and names in full", async () => {
    const [{ work }] = jsonLines((await chainwalk(`${INTRUDER} -o json`)).out) as [{ work: { rules: number } }];
    const lines = linesOf((await chainwalk(`${INTRUDER} -o detailed`)).out);
    const rules = lines.filter((line) => / \d+ {2}\S/.test(line) && !line.includes("end of chain"));
    expect(rules).toHaveLength(work.rules);
    expect(lines.join("\n")).not.toContain("…");
  });

  it("minimal is one line for each strategy", async () => {
    const { out } = await chainwalk(`${INTRUDER} -o minimal -s kube-router,reference`);
    expect(out).toBe(
      [
        "[kube-router] Rejected (default/db is isolated for ingress by default/db-policy and no rule matches)\n",
        "[reference] Dropped (default/db is isolated for ingress by default/db-policy and no rule matches)\n",
      ].join(""),
    );
  });

  it("iptables-trace is what the kernel's TRACE logs: the rules of the walk, chain ends, marks and devices", async () => {
    const lines = linesOf((await chainwalk(`${INTRUDER} -o iptables-trace`)).out);
    const [{ hops }] = jsonLines((await chainwalk(`${INTRUDER} -o json`)).out) as [
      { hops: { node: string; walk: [string, string, number][] }[] },
    ];
    const walked = hops.flatMap(({ node, walk }) => [
      `# ${node}`,
      ...walk.map(([table, chain, rule]) => `TRACE: ${table}:${chain}:rule:${rule}`),
    ]);
    const traced = lines.filter((line) => /^#|:rule:/.test(line)).map((line) => line.replace(/ IN=.*/, ""));
    expect(traced).toEqual(walked);
    expect(lines).toContainEqual(
      expect.stringMatching(/^TRACE: filter:KUBE-NWPLCY-COMMON:return:6 IN=kube-bridge OUT=eth0 /),
    );
    expect(lines.at(-1)).toMatch(/SRC=10\.10\.2\.11 DST=10\.10\.1\.10 .* PROTO=TCP SPT=40000 DPT=3306 .* SYN URGP=0/);
    expect(lines.filter((line) => line.endsWith("MARK=0x20000")).length).toBeGreaterThan(0);
  });

  it("the reference answers by direction", async () => {
    const [answer] = jsonLines((await chainwalk(`${INTRUDER} -s reference -o json`)).out);
    expect(answer).toMatchObject({
      index: 0,
      strategy: "reference",
      verdict: "drop",
      directions: { egress: "accept", ingress: "drop" },
      because: [expect.any(String), expect.stringContaining("default/db-policy")],
    });
    expect(answer).not.toHaveProperty("hops");
    expect((await chainwalk(`${INTRUDER} -s reference -o detailed`)).out).toContain('"a selected pod passes only');
  });

  it.each([80, 100, 115])(
    "fits a terminal of %i columns; the words at the end are never cut",
    async (terminalColumns) => {
      const wide = linesOf((await chainwalk(INTRUDER)).out);
      const narrow = linesOf((await chainwalk(INTRUDER, { terminalColumns, env: { NO_COLOR: "1" } })).out);
      const end = wide.lastIndexOf("");
      expect(Math.max(...narrow.slice(0, end).map((line) => [...line].length))).toBeLessThanOrEqual(terminalColumns);
      expect(narrow.slice(end)).toEqual(wide.slice(end));
      expect(narrow.filter((line) => line.startsWith("►"))).toHaveLength(2);
    },
  );

  it("is coloured on terminals only, NO_COLOR wins over the terminal, --color over both", async () => {
    const isColoured = async (command: string, world: Parameters<typeof chainwalk>[1]) =>
      (await chainwalk(command, world)).out.includes("\u001b[");
    expect(await isColoured(INTRUDER, {})).toBe(false);
    expect(await isColoured(INTRUDER, { terminalColumns: 120 })).toBe(true);
    expect(await isColoured(INTRUDER, { terminalColumns: 120, env: { NO_COLOR: "1" } })).toBe(false);
    expect(await isColoured(INTRUDER, { terminalColumns: 120, env: { TERM: "dumb" } })).toBe(false);
    expect(await isColoured(`${INTRUDER} --color always`, { env: { NO_COLOR: "1" } })).toBe(true);
    expect(await isColoured(`${INTRUDER} --color never`, { terminalColumns: 120 })).toBe(false);
  });

  it("says by which deviation a solution differs from the API", async () => {
    const { out } = await chainwalk("trace -f scenarios/db-policy --from intruder --to db --protocol icmp");
    expect(out).toContain("accept: kube-router deviates from the API (ping-always-allowed)");
    expect(out).toContain("the API text says drop: default/db is isolated for ingress by default/db-policy");
  });
});

describe("trace, the answer", () => {
  it.each(STRATEGIES.map(({ name }) => name))(
    "%s: every format answers, and the last line of words has the verdict",
    async (name) => {
      for (const format of ["minimal", "summary", "detailed", "json"]) {
        const { code, out, err } = await chainwalk(`${API} -s ${name} -o ${format}`);
        expect({ code, err }).toEqual({ code: 0, err: "" });
        expect(out).toMatch(/Allowed|accept/);
      }
    },
  );

  it("results have the fields of the contract in their order", async () => {
    const [result] = jsonLines((await chainwalk(`${INTRUDER} -o json`)).out);
    expect(Object.keys(result as object)).toEqual([
      "index",
      "strategy",
      "verdict",
      "reason",
      "ctState",
      "decidedBy",
      "hops",
      "work",
    ]);
    expect(result).toMatchObject({
      index: 0,
      strategy: "kube-router",
      verdict: "reject",
      reason: "policy",
      ctState: "new",
      decidedBy: { node: "node-a", table: "filter", rule: 5, origin: "default/db-policy" },
      hops: [
        { node: "node-b", verdict: "accept" },
        { node: "node-a", verdict: "reject" },
      ],
      work: {
        rules: expect.any(Number),
        chains: expect.any(Number),
        setLookups: expect.any(Number),
        mapLookups: 0,
        trieLookups: 0,
        conntrackLookups: 2,
      },
    });
  });

  it("--expect ends with 1 when something else becomes of the packet, for whichever strategy", async () => {
    expect((await chainwalk(`${INTRUDER} --expect reject`)).code).toBe(0);
    expect((await chainwalk(`${API} --expect accept -s all,reference`)).code).toBe(0);
    const wrong = await chainwalk(`${INTRUDER} --expect accept -o minimal`);
    expect(wrong).toMatchObject({ code: 1, err: "error: kube-router: expected accept, got reject\n" });
    const mixed = await chainwalk(`${INTRUDER} --expect drop -s weave-net,kube-router -o minimal`);
    expect(mixed).toMatchObject({ code: 1, err: "error: kube-router: expected drop, got reject\n" });
  });

  it("WHO is a pod of -n, namespace/pod, a node or an address", async () => {
    const verdict = async (ends: string) =>
      JSON.parse((await chainwalk(`trace -f scenarios/db-policy ${ends} --port 3306 -o json`)).out).verdict;
    expect(await verdict("--from api-pod -n prod --to default/db")).toBe("accept");
    expect(await verdict("--from prod/api-pod --to 10.10.1.10")).toBe("accept");
    expect(await verdict("--from 192.168.5.10 --to db")).toBe("accept");
    expect(await verdict("--from node:node-a --to db")).toBe("accept");
    expect(await verdict("--from node:node-b --to db")).toBe("reject");
  });

  it("a name stands for its first address, --family 6 for its first IPv6 address", async () => {
    const head = async (more: string) =>
      linesOf((await chainwalk(`trace -f scenarios/dual-stack -n shop --from client --to web ${more}`)).out)[0];
    expect(await head("")).toBe("tcp 10.10.2.10:40000 (shop/client) > 10.10.1.10:80 (shop/web) S");
    expect(await head("--family 6")).toBe("tcp [fd00:10:2::10]:40000 (shop/client) > [fd00:10:1::10]:80 (shop/web) S");
    expect(await head("--protocol icmpv6")).toBe("icmpv6 fd00:10:2::10 (shop/client) > fd00:10:1::10 (shop/web) 128");
  });

  it("every field of the packet can be set", async () => {
    const head = async (more: string) =>
      linesOf(
        (
          await chainwalk(
            `trace -f scenarios/db-policy --from frontend --to api-pod.x ${more}`.replace("api-pod.x", "prod/api-pod"),
          )
        ).out,
      )[0];
    expect(await head("--port 3000 --source-port 5 --flags SA")).toContain(
      ":5 (default/frontend) > 10.10.2.10:3000 (prod/api-pod) SA",
    );
    expect(await head("--protocol udp --port 53")).toContain("udp 10.10.1.12:40000");
    expect(await head("--protocol icmp --icmp-type 3 --icmp-code 1")).toContain("(prod/api-pod) 3/1");
    expect(await head("--protocol 47")).toBe("gre 10.10.1.12 (default/frontend) > 10.10.2.10 (prod/api-pod)");
  });
});

describe("one packet and many", () => {
  const ends = [
    "default/db",
    "prod/api-pod",
    "default/frontend",
    "node:node-a",
    "node:node-b",
    "192.168.5.10",
    "192.0.2.1",
  ];

  it.each([...STRATEGIES.map(({ name }) => name), "reference"])(
    "%s: a packet alone is answered as in a stream",
    async (name) => {
      const all = ends.flatMap((from) => ends.filter((to) => to !== from).map((to) => [from, to] as const));
      const pairs = sampled(all, 8);
      const stdin = pairs
        .map(
          ([source, destination]) =>
            `${JSON.stringify({ protocol: "tcp", source, destination, destinationPort: 3306 })}\n`,
        )
        .join("");
      const stream = jsonLines(
        (await chainwalk(`trace -f scenarios/db-policy --packets - --fresh --walk -s ${name}`, { stdin })).out,
      );
      for (const [index, [from, to]] of pairs.entries()) {
        const { out } = await chainwalk(
          `trace -f scenarios/db-policy --from ${from} --to ${to} --port 3306 -o json -s ${name}`,
        );
        expect({ from, to, ...JSON.parse(out), index }).toEqual({ from, to, ...(stream[index] as object) });
      }
    },
  );
});

describe("trace of a real node's rules", () => {
  const save = [
    "*filter",
    ":INPUT ACCEPT [0:0]",
    ":FORWARD ACCEPT [0:0]",
    ":OUTPUT ACCEPT [0:0]",
    '-A FORWARD -s 10.10.1.12/32 -m comment --comment "no front ends" -j DROP',
    "-A FORWARD -m set --match-set elsewhere src -j ACCEPT",
    "COMMIT",
    "",
  ].join("\n");
  const ends = "trace -f scenarios/db-policy --node node-a --iptables-save save.txt --to db";

  it("pushes the packet on that node alone and says what the deciding rule's comment says", async () => {
    const { code, out } = await chainwalk(`${ends} --from frontend -o minimal`, { files: { "save.txt": save } });
    expect({ code, out }).toEqual({ code: 0, out: '[kube-router] Dropped (the deciding rule says "no front ends")\n' });
  });

  it("a rule that cannot be represented is evidence missing where the packet gets there: 3", async () => {
    const { code, out, err } = await chainwalk(`${ends} --from intruder -o json`, { files: { "save.txt": save } });
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({ verdict: "unknown", hops: [{ node: "node-a" }] });
    expect(err).toContain("save.txt:6:");
  });

  it("import prints the program and its size", async () => {
    const files = { "save.txt": save };
    const { out } = await chainwalk("import --iptables-save save.txt", { files });
    expect(JSON.parse(out)).toMatchObject({ kind: "tables", node: "node", families: [{ family: 4 }] });
    const summary = linesOf((await chainwalk("import --iptables-save save.txt -o summary", { files })).out);
    expect(summary[1]).toMatch(/^kube-router +node +3 +2 +0 +0 +0 +0$/);
    expect(await chainwalk("import --iptables-save save.txt", { files: { "save.txt": "*filter\n-A" } })).toMatchObject({
      code: 2,
      out: "",
    });
  });
});
