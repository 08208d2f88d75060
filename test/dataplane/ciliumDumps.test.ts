/** The maps that Cilium itself filled (../shared/dumps/cilium), byte for byte, asked by our look-ups. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Cidr, parseCidr } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { encodeIpcacheKey, encodeIpcacheValue } from "../../dataplane/maps/layout.ts";
import { makePacket, parseProtocol } from "../../dataplane/packet.ts";
import type { AttachPoint, MapProgram, MapSpec } from "../../dataplane/program.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { hasShared, sharedPath } from "../shared.ts";

interface DumpedEndpoint {
  readonly node: string;
  readonly ips: readonly string[];
  readonly entries: readonly { readonly keyHex: string; readonly valueHex: string }[];
}

interface DumpedVerdict {
  readonly protocol: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly egress: "accept" | "drop";
  readonly ingress: "accept" | "drop";
  readonly verdict: "accept" | "drop";
}

const NODES = ["node-a", "node-b"] as const;
const LOCAL = {
  "node-a": ["192.168.0.11", "fd00:192:168::11"],
  "node-b": ["192.168.0.12", "fd00:192:168::12"],
} as const;

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function prefix(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`not a prefix: ${text}`);
  return parsed;
}

function readJson<T>(...parts: readonly string[]): Readonly<Record<string, T>> {
  return JSON.parse(readFileSync(sharedPath("dumps", "cilium", ...parts), "utf8"));
}

function trie(name: string, entries: MapSpec["entries"]): MapSpec {
  const [first] = entries;
  const keyBytes = first?.key.length ?? 12;
  return { name, type: "lpm-trie", keyBytes, valueBytes: first?.value.length ?? 12, maxEntries: 16_384, entries };
}

function dumpedProgram(cluster: string, node: (typeof NODES)[number]): MapProgram {
  const endpoints = Object.entries(readJson<DumpedEndpoint>(cluster, "endpoints.json")).filter(
    ([, endpoint]) => endpoint.node === node,
  );
  const ipcache = Object.entries(readJson<number>(cluster, `ipcache-${node}.json`));
  return {
    kind: "maps",
    strategy: "dumped",
    node,
    maps: [
      trie(
        "ipcache",
        ipcache.map(([text, identity]) => ({
          key: encodeIpcacheKey(prefix(text)),
          value: encodeIpcacheValue(identity),
        })),
      ),
      ...endpoints.map(([name, { entries }]) =>
        trie(
          `policy ${name}`,
          entries.map(({ keyHex, valueHex }) => ({ key: bytes(keyHex), value: bytes(valueHex) })),
        ),
      ),
    ],
    attachPoints: endpoints.flatMap(([name]) =>
      (["ingress", "egress"] as const).map(
        (direction): AttachPoint => ({
          endpoint: name,
          direction,
          plan: { kind: "identity", ipcache: "ipcache", policy: `policy ${name}` },
        }),
      ),
    ),
    attachment: {
      uplink: "eth0",
      pods: endpoints.map(([name, { ips }], index) => ({
        endpoint: name,
        addresses: ips.map(address),
        interface: `lxc${index}`,
      })),
      localAddresses: LOCAL[node].map(address),
      remotePodAddresses: [],
    },
  };
}

describe.runIf(hasShared)("Cilium's own maps", () => {
  const clusters = hasShared
    ? readdirSync(sharedPath("dumps", "cilium"), { withFileTypes: true }).filter((entry) => entry.isDirectory())
    : [];

  it.each(clusters.map(({ name }) => name))("of %s give the verdicts that Cilium's look-up gave", (cluster) => {
    const fabric = new Fabric(NODES.map((node) => dumpedProgram(cluster, node)));
    let count = 0;
    for (const file of ["verdicts.jsonl", "verdicts-targeted.jsonl", "verdicts-nodes.jsonl"]) {
      const lines = readFileSync(sharedPath("dumps", "cilium", cluster, file), "utf8").split("\n");
      for (const line of lines.filter((text) => text !== "")) {
        const recorded: DumpedVerdict = JSON.parse(line);
        if (recorded.source === recorded.destination) continue; // never leaves the pod
        fabric.flushConntrack();
        const result = fabric.push(
          makePacket({
            ...recorded,
            protocol: parseProtocol(recorded.protocol) ?? 0,
            source: address(recorded.source),
            destination: address(recorded.destination),
          }),
        );
        if (result.verdict !== recorded.verdict) expect({ line, result }).toEqual(recorded.verdict);
        count++;
      }
    }
    expect(count).toBeGreaterThan(1_500);
  });
});
