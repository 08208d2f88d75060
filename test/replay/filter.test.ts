/** Filters in tcpdump's words mean what tcpdump takes them for; filters in Hubble's words what Hubble's help says. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { appendPacket, createBatch, makePacket, type Packet } from "../../dataplane/packet.ts";
import { parseExpression } from "../../replay/filter/expression.ts";
import { isFilterProblem, predicateOf, type RowPredicate } from "../../replay/filter/predicate.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import { chainwalk } from "../cli/commandLine.ts";

const hasTcpdump = spawnSync("tcpdump", ["--version"]).status === 0;
if (!hasTcpdump && process.env.CI) throw new Error("CI needs tcpdump");
if (!hasTcpdump) console.warn("skipped: filters held against tcpdump, which is not installed");

const ADDRESSES = ["10.10.1.10", "10.10.2.11", "10.20.0.1", "192.168.5.10", "fd00:10::1", "fd00:20::2"].map((text) => {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(text);
  return address;
});
const PORTS = [22, 53, 80, 443, 3306, 40_000, 40_001];
const PROTOCOLS = [6, 17, 132, 1, 58, 47] as const;

/** Every protocol between every two addresses of a family, ports in turn; `time` is the number of the packet. */
function packets(): readonly Packet[] {
  const made: Packet[] = [];
  for (const source of ADDRESSES) {
    for (const destination of ADDRESSES) {
      if (source === destination || source.family !== destination.family) continue;
      for (const protocol of PROTOCOLS) {
        if ((protocol === 1 && source.family === 6) || (protocol === 58 && source.family === 4)) continue;
        for (let turn = 0; turn < 3; turn++) {
          const number = made.length;
          const port = (step: number) => PORTS[(number * step + turn) % PORTS.length] ?? 0;
          const ports = protocol === 6 || protocol === 17 || protocol === 132 ? [port(3), port(5)] : [0, 0];
          const [sourcePort = 0, destinationPort = 0] = ports;
          made.push(makePacket({ time: number, protocol, source, destination, sourcePort, destinationPort }));
        }
      }
    }
  }
  return made;
}

const EXPRESSIONS = [
  "tcp",
  "udp or sctp",
  "ip6",
  "ip and not icmp",
  "icmp6 or icmp",
  "host 10.10.1.10",
  "src host 10.10.1.10",
  "dst 10.10.2.11",
  "src or dst host fd00:10::1",
  "src and dst net 10.10.0.0/16",
  "net 10.10",
  "dst net 10.10.2.0/24",
  "net 10.10.0.0 mask 255.255.0.0",
  "src net fd00:20::/32",
  "port 53",
  "dst port 80 or 443",
  "tcp port 3306",
  "tcp dst port 22 or 53 or 80",
  "udp src port 40000",
  "portrange 50-100",
  "src portrange 40000-40001",
  "proto 47",
  "proto 6",
  "host 10.10.1.10 and host 10.20.0.1",
  "host 10.10.1.10 or 10.20.0.1",
  "tcp and port 80 or port 443",
  "port 443 or tcp and port 80",
  "not tcp and not udp",
  "not (tcp or udp)",
  "! port 53 && ! port 80",
  "(src host 10.10.1.10 and dst port 3306) or (dst host 10.10.1.10 and src port 3306)",
  "tcp and (host 10.10.1.10 or net 192.168)",
  "not host 10.10.1.10 and udp",
  "ip6 and tcp port 443",
  "port https",
];

describe.runIf(hasTcpdump)("filters against tcpdump", () => {
  const folder = mkdtempSync(join(tmpdir(), "chainwalk-filter-"));
  const file = join(folder, "all.pcap");
  const all = packets();
  const batch = createBatch(all.length);
  beforeAll(() => {
    const writer = new PcapWriter(PACKET_LINK_TYPE);
    for (const packet of all) {
      appendPacket(batch, packet);
      writer.frame({ ...packetFrame(packet), interfaceId: 0 });
    }
    writeFileSync(file, writer.take());
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(EXPRESSIONS)("%s", (expression) => {
    const { stdout, status, stderr } = spawnSync("tcpdump", ["-n", "-tt", "-r", file, expression], {
      encoding: "utf8",
    });
    expect({ status, stderr: stderr.replace(/^reading from.*\n/, "") }).toEqual({ status: 0, stderr: "" });
    const theirs = [...stdout.matchAll(/^(\d+)\.\d+ IP/gm)].map((match) => Number(match[1]));
    const test = predicate(expression);
    const ours = all.flatMap((_, row) => (test(batch, row) ? [row] : []));
    expect(ours).toEqual(theirs);
    // Neither nothing nor everything: a filter that says nothing proves nothing.
    expect(ours.length).toBeGreaterThan(0);
    expect(ours.length).toBeLessThan(all.length);
  });
});

function predicate(text: string): RowPredicate {
  const parsed = parseExpression(text);
  const made = isFilterProblem(parsed) ? parsed : predicateOf(parsed, () => undefined);
  if (isFilterProblem(made)) throw new Error(`${made.column}: ${made.problem}`);
  return made;
}

describe("filters that are wrong", () => {
  it.each([
    ["tcp porty 80", 5, 'expected and, or, or the end, found "porty"'],
    ["port", 5, "expected a value after port, found the end"],
    ["port 70000", 6, 'expected a port, 0-65535 or a name such as http, found "70000"'],
    ["portrange 80", 11, 'expected FIRST-LAST after portrange, found "80"'],
    ["(tcp or udp", 12, "expected ) for the ( at column 1, found the end"],
    ["tcp and", 8, "expected host, net, port, portrange, a protocol, not or (, found the end"],
    ["net 10.0.0.0/40", 5, '"10.0.0.0/40" is no network'],
    ["host nobody", 6, '"nobody" is no address'],
    ["proto strange", 7, "expected a protocol name or 0-255 after proto"],
    ["net 10.0.0.0 mask 255.0.255.0", 19, "expected a mask such as 255.255.0.0"],
    ["(".repeat(300), 201, "nested deeper than 200 levels"],
  ])("%s", (expression, column, message) => {
    const parsed = parseExpression(expression);
    const made = isFilterProblem(parsed) ? parsed : predicateOf(parsed, () => undefined);
    expect(isFilterProblem(made) && made).toMatchObject({ column, problem: expect.stringContaining(message) });
  });
});

describe("filters of the verb", () => {
  const line = (source: string, destination: string, destinationPort: number) =>
    JSON.stringify({ protocol: "tcp", source, destination, destinationPort });
  const files = {
    "t.jsonl": [
      line("prod/api-pod", "default/db", 3306),
      line("default/intruder", "default/db", 3306),
      line("default/frontend", "prod/api-pod", 3000),
      line("192.168.5.10", "default/db", 80),
    ].join("\n"),
  };
  const seen = async (...flags: readonly string[]) => {
    const argv = ["replay", "-f", "scenarios/db-policy", "t.jsonl", "-o", "jsonl", ...flags];
    const { code, out, err } = await chainwalk(argv, { files });
    if (code === 2) return err;
    return out
      .split("\n")
      .filter((text) => text !== "")
      .map((text) => (JSON.parse(text) as { from: string }).from);
  };

  it("names of pods stand for their addresses", async () => {
    expect(await seen("--filter", "src host default/intruder or src 192.168.5.10")).toEqual([
      "default/intruder",
      "192.168.5.10",
    ]);
  });

  it("values of one of Hubble's flags are alternatives, flags hold together, --not is about the next flag", async () => {
    expect(await seen("--to-pod", "db")).toEqual(["prod/api-pod", "default/intruder", "192.168.5.10"]);
    expect(await seen("--to-pod", "db", "--to-port", "3306")).toEqual(["prod/api-pod", "default/intruder"]);
    expect(await seen("--from-namespace", "prod", "--from-ip", "192.168.0.0/16")).toEqual([]);
    expect(await seen("--from-pod", "prod/api", "--from-pod", "front")).toEqual(["prod/api-pod", "default/frontend"]);
    expect(await seen("--not", "--from-pod", "intruder", "--to-port", "3306")).toEqual(["prod/api-pod"]);
    expect(await seen("--verdict", "DROPPED")).toEqual(["default/intruder", "192.168.5.10"]);
    expect(await seen("--not", "--verdict", "dropped")).toEqual(["prod/api-pod", "default/frontend"]);
  });

  it("mistakes end with 2 and point at their column", async () => {
    expect(await seen("--filter", "tcp porty 80")).toBe(
      'error: --filter, column 5: expected and, or, or the end, found "porty"\n  tcp porty 80\n      ^\n',
    );
    expect(await seen("--to-port", "3306", "--not")).toBe(
      "error: --not stands before the flag that it is about, and none follows\n",
    );
    expect(await seen("--verdict", "maybe")).toContain('--verdict: "maybe" is no verdict; allowed: forwarded');
  });
});
