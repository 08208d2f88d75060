import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { timeText } from "../../format/replay/words.ts";
import { chainwalk, jsonLines } from "../cli/commandLine.ts";
import { dbService } from "./dbService.ts";

const DB = "scenarios/db-policy";

/** The recording of most tests here: the API talks to the database, the intruder tries, the database asks for names. */
const LINES = [
  {
    time: 1,
    protocol: "tcp",
    source: "prod/api-pod",
    sourcePort: 40002,
    destination: "default/db",
    destinationPort: 3306,
  },
  {
    time: 1.01,
    protocol: "tcp",
    source: "default/db",
    sourcePort: 3306,
    destination: "prod/api-pod",
    destinationPort: 40002,
    tcpFlags: "SA",
  },
  {
    time: 1.02,
    protocol: "tcp",
    source: "prod/api-pod",
    sourcePort: 40002,
    destination: "default/db",
    destinationPort: 3306,
    tcpFlags: "A",
  },
  {
    time: 2,
    protocol: "tcp",
    source: "default/intruder",
    sourcePort: 40004,
    destination: "default/db",
    destinationPort: 3306,
  },
  {
    time: 3,
    protocol: "udp",
    source: "default/db",
    sourcePort: 40009,
    destination: "kube-system/dns",
    destinationPort: 53,
  },
  {
    time: 3,
    protocol: "udp",
    source: "kube-system/dns",
    sourcePort: 53,
    destination: "default/db",
    destinationPort: 40009,
  },
  {
    time: 4,
    protocol: "tcp",
    source: "8.8.8.8",
    sourcePort: 443,
    destination: "default/db",
    destinationPort: 40010,
    tcpFlags: "PA",
  },
];
const jsonl = (lines: readonly object[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join("");
const TRAFFIC = jsonl(LINES);

/** Pods of the same namespace alone may reach the database: the API may not any more, the intruder may. */
const AFTER = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db-policy, namespace: default }
spec:
  podSelector: { matchLabels: { role: db } }
  policyTypes: [Ingress]
  ingress:
    - from: [{ podSelector: { matchLabels: { name: api-pod } } }]
      ports: [{ protocol: TCP, port: 3306 }]
`;

interface Flow {
  readonly from: string;
  readonly to: string;
  readonly verdict: string;
  readonly packets: number;
  readonly bytes: number;
  readonly firstTime: number;
  readonly policies?: readonly string[];
  readonly startMissing?: boolean;
  readonly decidedBy?: object;
  readonly before?: Flow;
  readonly after?: Flow;
  readonly strategies?: Readonly<Record<string, Flow>>;
}

interface Report {
  readonly totals: Readonly<Record<string, number>> & { readonly flowVerdicts: object };
  readonly flows: readonly Flow[];
  readonly changed?: readonly Flow[];
  readonly changes?: readonly {
    readonly kind: string;
    readonly source: string;
    readonly policies: readonly string[];
  }[];
  readonly timeline: { readonly buckets: readonly Readonly<Record<"accept" | "drop" | "reject", number>>[] };
}

async function replay(args: string, files: Readonly<Record<string, string>> = {}) {
  const outcome = await chainwalk(`replay ${args} -o json`, {
    files: { "t.jsonl": TRAFFIC, ...files },
    stdin: TRAFFIC,
  });
  return { ...outcome, report: JSON.parse(outcome.out === "" ? "null" : outcome.out) as Report };
}

describe("replay of one state of the cluster", () => {
  it("says that there was nothing to read, which is not the same as nothing refused", async () => {
    const { code, err } = await chainwalk(`replay -f ${DB} -`, { stdin: "" });
    expect({ code, err }).toEqual({ code: 0, err: "note: standard input is empty\n" });
  });

  it("gives each connection one verdict, that of its first packet, and counts packets by theirs", async () => {
    const { code, report } = await replay(`-f ${DB} t.jsonl`);
    expect(code).toBe(0); // a refusal is an answer, not a finding
    expect(report.totals).toMatchObject({
      packets: 7,
      flows: 4,
      accept: 5,
      drop: 0,
      reject: 2,
      skipped: 0,
      unknownAddresses: 1,
      flowVerdicts: { accept: 2, drop: 0, reject: 2 },
    });
    expect(report.flows.map(({ from, to, verdict, packets }) => [from, to, verdict, packets])).toEqual([
      ["prod/api-pod", "default/db", "accept", 3],
      ["default/intruder", "default/db", "reject", 1],
      ["default/db", "kube-system/dns", "accept", 2],
      ["8.8.8.8", "default/db", "reject", 1],
    ]);
  });

  it("names the rule that decided, and the policies that refuse", async () => {
    const { report } = await replay(`-f ${DB} t.jsonl`);
    expect(report.flows[1]).toMatchObject({
      policies: ["default/db-policy"],
      decidedBy: { node: "node-a", table: "filter", rule: 5, origin: "default/db-policy" },
    });
  });

  it("says of a connection whose beginning was not recorded that it was not", async () => {
    const { report, err } = await replay(`-f ${DB} t.jsonl`);
    expect(report.flows.map(({ startMissing }) => startMissing === true)).toEqual([false, false, false, true]);
    expect(err).toContain("1 flow begins before the recording");
  });

  it("takes the same tuple for a new connection after it was closed, and a repeated SYN for the same", async () => {
    const syn = { protocol: "tcp", source: "prod/api-pod", destination: "default/db", destinationPort: 3306 };
    const fin = { ...syn, tcpFlags: "FA" };
    const finBack = {
      protocol: "tcp",
      source: "default/db",
      sourcePort: 3306,
      destination: "prod/api-pod",
      destinationPort: 40000,
      tcpFlags: "FA",
    };
    const { report } = await replay(`-f ${DB} u.jsonl`, { "u.jsonl": jsonl([syn, syn, fin, finBack, syn]) });
    expect(report.flows.map(({ packets }) => packets)).toEqual([4, 1]);
  });

  it("takes the same tuple for another flow after two silent minutes, where the protocol has no end", async () => {
    const dns = { protocol: "udp", source: "prod/api-pod", destination: "default/db", destinationPort: 53 };
    const lines = [0, 119, 240].map((time) => ({ ...dns, time }));
    const { report } = await replay(`-f ${DB} u.jsonl`, { "u.jsonl": jsonl(lines) });
    expect(report.flows.map(({ packets }) => packets)).toEqual([2, 1]);
  });

  it("pushes no packet of a flow that a filter does not want, the later ones neither", async () => {
    const dns = { protocol: "udp", source: "prod/api-pod", destination: "default/db", destinationPort: 53 };
    const lines = [dns, { ...dns, destinationPort: 54 }, dns, { ...dns, destinationPort: 54 }, dns];
    const argv = ["replay", "-f", DB, "-", "-o", "json", "--filter", "port 54"];
    const { out } = await chainwalk(argv, { stdin: jsonl(lines) });
    const { buckets } = (JSON.parse(out) as Report).timeline;
    expect(buckets.reduce((sum, { accept, drop, reject }) => sum + accept + drop + reject, 0)).toBe(2);
  });

  it("reads what is whole of a gzip file that is cut short or damaged, and says so", async () => {
    // Random numbers, which are as long compressed: many pieces.
    const lines = Array.from({ length: 3000 }, (_line, at) => ({
      ...LINES[3],
      time: at,
      sequence: (at * 0x9e3779b1) >>> 0,
    }));
    const zipped = gzipSync(jsonl(lines));
    const replayed = (bytes: Uint8Array) =>
      chainwalk(`replay -f ${DB} t.gz -o csv`, { files: { "t.gz": Buffer.from(bytes) } });
    const broken = (at: number) => zipped.map((byte, index) => (index === at ? byte ^ 0xff : byte));
    const whole = await replayed(zipped);
    expect(whole).toMatchObject({ code: 0, err: "" });
    const { out, err, code } = await replayed(zipped.subarray(0, -8));
    expect(err).toContain("t.gz: warning: the compressed data ends too early");
    expect({ out, code }).toEqual({ out: whole.out, code: 0 });
    // The checksum behind all packets; then the code in which they are written.
    for (const at of [zipped.length - 8, 12]) {
      const damaged = await replayed(broken(at));
      expect(damaged.err).toContain("t.gz: error: the compressed data is damaged");
      expect(damaged.code).toBe(2);
    }
  });

  it("reads standard input, and gzip", async () => {
    const direct = await replay(`-f ${DB} t.jsonl`);
    expect((await replay(`-f ${DB} -`)).report).toEqual(direct.report);
    const zipped = await chainwalk(`replay -f ${DB} - -o json`, { stdin: Readable.from([gzipSync(TRAFFIC)]) });
    expect(JSON.parse(zipped.out)).toEqual(direct.report);
  });

  it("writes flows alone as JSON lines, the same objects", async () => {
    const { report } = await replay(`-f ${DB} t.jsonl`);
    const { out } = await chainwalk(`replay -f ${DB} t.jsonl -o jsonl`, { files: { "t.jsonl": TRAFFIC } });
    expect(jsonLines(out)).toEqual(report.flows);
  });

  it("ends with 2 at a bad line, with its number, after what came before it", async () => {
    const { code, err, report } = await replay(`-f ${DB} bad.jsonl`, { "bad.jsonl": `${TRAFFIC}{"protocol":"tcp"}\n` });
    expect(code).toBe(2);
    expect(err).toContain("bad.jsonl:8:1: error: source is an address");
    expect(report.totals.packets).toBe(7);
  });
});

describe("replay of a change", () => {
  it("ends with 1 when something that passed is now refused, and groups what changes", async () => {
    const { code, report } = await replay(`-f ${DB} --after after t.jsonl`, { "after/p.yaml": AFTER });
    expect(code).toBe(1);
    expect(report.changed?.map(({ from, before, after }) => [from, before?.verdict, after?.verdict])).toEqual([
      ["prod/api-pod", "accept", "reject"],
      ["default/intruder", "reject", "accept"],
    ]);
    expect(report.changes?.map(({ kind, source, policies }) => [kind, source, policies])).toEqual([
      ["now refused", "prod/api-pod", ["default/db-policy"]],
      ["now accepted", "default/intruder", ["default/db-policy"]],
    ]);
    expect(report.flows.every(({ verdict, after }) => verdict === after?.verdict)).toBe(true);
  });

  it("ends with 0 when the change only opens", async () => {
    const open = AFTER.replace("from: [{ podSelector: { matchLabels: { name: api-pod } } }]", "from: []");
    const { code, report } = await replay(`-f ${DB} --after after t.jsonl`, { "after/p.yaml": open });
    expect(report.changed?.map(({ from }) => from)).toEqual(["default/intruder"]);
    expect(code).toBe(0);
  });

  it("takes a folder with pods for the whole cluster, and one without for what is applied over -f", async () => {
    const cluster = readFileSync(join(import.meta.dirname, "..", "..", DB, "cluster.yaml"), "utf8");
    const [before, after] = [cluster, `${cluster.split("---\n").slice(0, -1).join("---\n")}---\n${AFTER}`];
    const whole = await replay("--before b --after a t.jsonl", { "b/c.yaml": before, "a/c.yaml": after });
    const applied = await replay(`-f ${DB} --after after t.jsonl`, { "after/p.yaml": AFTER });
    expect(whole.code).toBe(1);
    expect(whole.report.changed).toEqual(applied.report.changed);
  });

  it("prunes policies that the new set does not have when told to", async () => {
    const other = AFTER.replace("name: db-policy", "name: other").replace("role: db", "role: nobody");
    expect((await replay(`-f ${DB} --after after t.jsonl`, { "after/p.yaml": other })).report.changed).toEqual([]);
    const pruned = await replay(`-f ${DB} --after after --prune t.jsonl`, { "after/p.yaml": other });
    expect(pruned.report.changed?.map(({ from }) => from)).toEqual(["default/intruder", "8.8.8.8"]);
  });

  it("compares strategies the same way", async () => {
    const { code, report } = await replay(`-f ${DB} -s kube-router,reference,romana t.jsonl`);
    expect(code).toBe(1);
    expect(
      report.changed?.map(({ from, strategies }) => [
        from,
        strategies?.reference?.verdict,
        strategies?.romana?.verdict,
      ]),
    ).toEqual([
      ["default/intruder", "drop", "accept"],
      ["8.8.8.8", "drop", "accept"],
    ]);
  });
});

describe("where and how a recording was made", () => {
  it("flows that the named node cannot have seen are said, an unknown node is refused", async () => {
    const { err } = await replay(`-f ${DB} t.jsonl --captured-on node-b`);
    expect(err).toContain("1 flow has neither end on node-b");
    expect(
      (await chainwalk(`replay -f ${DB} t.jsonl --captured-on nowhere`, { files: { "t.jsonl": TRAFFIC } })).err,
    ).toContain('unknown node "nowhere"; there are node-a, node-b');
  });

  it("packets meet the named node alone: what another one refuses is not asked", async () => {
    const deny = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: prod }
spec: { podSelector: {}, policyTypes: [Egress] }
`;
    const files = { "t.jsonl": TRAFFIC, "deny.yaml": deny };
    const verdictOf = async (flags: string): Promise<string | undefined> => {
      const { out } = await chainwalk(`replay -f ${DB} -f deny.yaml t.jsonl -o jsonl -q ${flags}`, { files });
      const flows = jsonLines(out) as readonly { readonly from?: string; readonly verdict?: string }[];
      return flows.find(({ from }) => from === "prod/api-pod")?.verdict;
    };
    expect(await verdictOf("")).toBe("reject");
    // The sender's node refuses; the receiver's would have let it in.
    const seen = [await verdictOf("--captured-on node-a"), await verdictOf("--captured-on node-b")];
    expect(seen.toSorted()).toEqual(["accept", "reject"]);
  });

  it("Service addresses become the endpoint's where the Service is given, and its replies come from there", async () => {
    const service = dbService("10.10.1.10");
    const lines = [
      { protocol: "tcp", source: "prod/api-pod", destination: "10.96.0.10", destinationPort: 33 },
      {
        protocol: "tcp",
        source: "10.96.0.10",
        sourcePort: 33,
        destination: "prod/api-pod",
        destinationPort: 40000,
        tcpFlags: "SA",
      },
    ];
    const files = { "s.jsonl": jsonl(lines), "service.yaml": service };
    const given = await replay(`-f ${DB} -f service.yaml s.jsonl`, files);
    expect(given.report.flows).toMatchObject([
      { to: "default/db", destinationPort: 3306, packets: 2, verdict: "accept", translated: true },
    ]);
    expect(given.report.totals.unknownAddresses).toBe(0);
    const missing = await replay(`-f ${DB} s.jsonl`, files);
    expect(missing.report.flows).toMatchObject([{ to: "10.96.0.10", packets: 2 }]);
    expect(missing.report.totals.unknownAddresses).toBe(1);
  });
});

it("a time that has no date is refused with its line, and one far away is shown in seconds", async () => {
  const packet = (time: number) =>
    JSON.stringify({
      protocol: "tcp",
      source: "prod/api-pod",
      destination: "default/frontend",
      destinationPort: 80,
      time,
    });
  const at = async (time: number) =>
    chainwalk("replay -f scenarios/db-policy t.jsonl", { files: { "t.jsonl": `${packet(0)}\n${packet(time)}\n` } });
  const { code, err } = await at(1e308);
  expect({ code, err }).toEqual({
    code: 2,
    err: "t.jsonl:2:1: error: time is in seconds, 0-8640000000000, found 1e+308\n",
  });
  expect(await at(8_640_000_000_000)).toMatchObject({ code: 0, err: "" });
  expect([8_640_000_000_000, 9e12].map(timeText)).toEqual(["+275760-09-13 00:00:00.000", "9000000000000 s"]);
});
