/** Where a recording was made: nodes and interfaces, from `--captured-on` and from what a capture calls its interfaces. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { loadSetup } from "../../replay/setup.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { PcapngWriter } from "../../traffic/writePcapng.ts";
import { chainwalk } from "../cli/commandLine.ts";

const ANY = "any";
const CLUSTER = "scenarios/db-policy/cluster.yaml";
/** On node-a and node-b. */
const DB = "10.10.1.10";
const API = "10.10.2.10";

/** How Calico calls the interfaces of pods. */
const interfaceOf = (() => {
  const text = readFileSync(join(import.meta.dirname, "..", "..", CLUSTER), "utf8");
  const { loaded } = loadSetup(
    {
      clusters: [{ files: [{ name: CLUSTER, text }] }],
      sides: [{ name: "calico", cluster: 0, strategy: "calico-iptables", settings: [] }],
      main: 0,
    },
    1,
  );
  const pods = [...(loaded?.sides[0]?.attachments.values() ?? [])].flatMap((attachment) => attachment.pods);
  return (pod: string): string => {
    const found = pods.find(({ endpoint }) => endpoint === pod);
    if (found === undefined) throw new Error(`no ${pod}`);
    return found.interface;
  };
})();

/** One SYN from prod/api-pod to default/db, seen on each of these interfaces a moment later. */
function capture(names: readonly (string | undefined)[]): Uint8Array {
  const [source, destination] = [API, DB].map((text) => parseAddress(text));
  if (source === undefined || destination === undefined) throw new Error("no address");
  const writer = new PcapngWriter({});
  const ids = names.map((name) => writer.addInterface({ linkType: PACKET_LINK_TYPE, name }));
  const there = { source, destination, sourcePort: 40_000, destinationPort: 3306, protocol: PROTOCOL.tcp };
  for (const [at, interfaceId] of ids.entries()) {
    const time = 1000 + at / 10_000;
    writer.frame({ ...packetFrame(makePacket({ ...there, tcpFlags: TCP_FLAG.S, sequence: 7, time })), interfaceId });
  }
  return writer.take();
}

type Seen = readonly [flags: "S" | "R", type: number];

/** Packet types of Linux cooked captures. */
const IN = 0;
const OUT = 4;

/** A SYN from prod/api-pod to default/db and RSTs in answer, as `tcpdump -i any` writes them. */
function cooked(packets: readonly Seen[]): Uint8Array {
  const [api, db] = [parseAddress(API), parseAddress(DB)];
  if (api === undefined || db === undefined) throw new Error("no address");
  const writer = new PcapngWriter({});
  const interfaceId = writer.addInterface({ linkType: 113 });
  const there = { source: api, destination: db, sourcePort: 40_000, destinationPort: 3306, protocol: PROTOCOL.tcp };
  const back = { source: db, destination: api, sourcePort: 3306, destinationPort: 40_000, protocol: PROTOCOL.tcp };
  for (const [flags, type] of packets) {
    const ends = flags === "S" ? { ...there, sequence: 7 } : { ...back, acknowledgment: 8 };
    const frame = packetFrame(makePacket({ ...ends, tcpFlags: TCP_FLAG[flags], time: 1000 }));
    const bytes = Uint8Array.of(0, type, 0, 1, 0, 6, ...Array.from({ length: 8 }, () => 0), 8, 0, ...frame.bytes);
    writer.frame({ ...frame, bytes, wireBytes: bytes.length, interfaceId });
  }
  return writer.take();
}

interface Report {
  readonly flows: readonly { readonly packets: number; readonly verdict: string; readonly metWhereRecorded?: string }[];
  readonly notes: readonly string[];
}

const DENY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: prod }
spec: { podSelector: {}, policyTypes: [Egress] }
`;

async function replay(flags: string, captures: Readonly<Record<string, Uint8Array>>): Promise<Report> {
  const command = `replay -f ${CLUSTER} -s calico-iptables -o json -q ${flags} ${Object.keys(captures).join(" ")}`;
  const { out, err } = await chainwalk(command, { files: { ...captures, "deny.yaml": DENY } });
  if (out === "") throw new Error(err);
  return JSON.parse(out);
}

describe("names of interfaces in a capture", () => {
  it("a packet on three interfaces is walked once, and on that of the destination has met every policy", async () => {
    const names = [interfaceOf("prod/api-pod"), "node-b:eth0", interfaceOf("default/db")];
    const { flows, notes } = await replay("", { "a.pcapng": capture(names) });
    expect(flows).toMatchObject([{ packets: 1, metWhereRecorded: "every policy" }]);
    expect(notes.join("\n")).toContain("2 packets were recorded on more than one interface and are counted once");
  });

  it.each([
    ["the source's own interface comes before every policy", [interfaceOf("prod/api-pod")], undefined],
    ["a node's card comes after egress", ["node-b:eth0"], "egress policy"],
    ["the receiving node's card as well", ["node-a:ens5"], "egress policy"],
    ["a bridge may come before or after", ["node-a:cni0"], undefined],
    ["a card of a node that is not said says nothing", ["eth0"], undefined],
    ["nothing is known of an interface without a name", [undefined], undefined],
  ])("%s", async (_, names, met) => {
    const [flow] = (await replay("", { "a.pcapng": capture(names) })).flows;
    expect(flow?.metWhereRecorded).toBe(met);
  });

  it("an answer proves nothing: the node may have made it", async () => {
    const seen = async (...packets: readonly Seen[]): Promise<string | undefined> =>
      (await replay(`--captured-on node-b:${ANY}`, { "a.pcapng": cooked(packets) })).flows[0]?.metWhereRecorded;
    expect(await seen(["S", IN], ["R", OUT])).toBeUndefined();
    expect(await seen(["S", IN], ["S", OUT], ["R", IN])).toBe("egress policy");
  });

  it("policies that refuse what had met them all were not in force, which is said", async () => {
    const names = [interfaceOf("default/db")];
    const { flows, notes } = await replay("-f deny.yaml", { "a.pcapng": capture(names) });
    expect(flows).toMatchObject([{ verdict: "drop", metWhereRecorded: "every policy" }]);
    expect(notes.join("\n")).toContain("1 flow is refused and had passed every policy where the recording was made");
    const change = await replay("--after deny.yaml", { "a.pcapng": capture(names) });
    // The recording is of the time before the change.
    expect(change.notes).toEqual([]);
  });
});

describe("--captured-on", () => {
  it.each([
    ["node-a", "accept", undefined],
    ["node-a:eth0", "accept", "egress policy"],
    ["default/db", "accept", "every policy"],
    ["node-b", "drop", undefined],
    [`node-b:${ANY}`, "drop", undefined],
    ["prod/api-pod", "drop", undefined],
  ])("%s: packets meet that node alone", async (place, verdict, met) => {
    const { flows } = await replay(`-f deny.yaml --captured-on ${place}`, { "a.pcapng": capture([undefined]) });
    expect(flows.map((flow) => [flow.verdict, flow.metWhereRecorded])).toEqual([[verdict, met]]);
  });

  it("once for each recording: a packet of both is walked once, through both nodes", async () => {
    const captures = { "b.pcapng": capture([undefined]), "a.pcapng": capture([undefined]) };
    const flags = "--captured-on prod/api-pod --captured-on node-a:eth0";
    const { flows } = await replay(flags, captures);
    expect(flows).toMatchObject([{ packets: 1, verdict: "accept", metWhereRecorded: "egress policy" }]);
    expect((await replay(`-f deny.yaml ${flags}`, captures)).flows).toMatchObject([{ verdict: "drop" }]);
  });

  it("a flow that a pod's interface cannot have seen is said", async () => {
    const { notes } = await replay("--captured-on default/frontend", { "a.pcapng": capture([undefined]) });
    expect(notes.join("\n")).toContain("1 flow has neither end on default/frontend, where the recording was made");
  });

  it.each([
    ["--captured-on nowhere:eth0", 'unknown node "nowhere"; there are node-a, node-b'],
    ["--captured-on default/nobody", 'unknown pod "default/nobody"'],
    ["--captured-on node-a:", '"node-a:" names no interface after the colon'],
    ["--captured-on node-a --captured-on node-b", "once for each of the 1 recordings in their order; found 2"],
  ])("%s is refused", async (flags, message) => {
    const files = { "a.pcapng": capture([undefined]) };
    const { err, code } = await chainwalk(`replay -f ${CLUSTER} a.pcapng ${flags}`, { files });
    expect({ err, code }).toEqual({ err: expect.stringContaining(message), code: 2 });
  });
});
