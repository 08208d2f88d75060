/** A capture of 64-byte frames, and who reads it: ours to columns and to verdicts, and others that read captures. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { makePacket, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { AddressBook } from "../../replay/owners.ts";
import { Replay } from "../../replay/replay.ts";
import { strategySide } from "../../replay/side.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { readAhead } from "../../traffic/readAhead.ts";
import { BATCH_ROWS } from "../../traffic/source.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import type { Clock } from "../measure.ts";
import { clusterOf } from "../workloads.ts";

/** Payload that makes a frame of 64 bytes: IPv4 and TCP have 20 each. */
const PAYLOAD_BYTES = 24;

export const CAPTURE_CLUSTER = "100 pods, 50 policies, kube-router, one node";

export interface Capture {
  readonly model: ClusterModel;
  readonly bytes: Uint8Array;
  readonly packets: number;
}

export interface CaptureSize {
  readonly packets: number;
  readonly flows: number;
  readonly seed: number;
}

/** Connections between the pods of a cluster on one node, their packets mixed: SYN, answer, then data both ways. */
export function captureOf({ packets, flows, seed }: CaptureSize): Capture {
  const model = clusterOf({ pods: 100, policies: 50, namespaces: 10, nodes: 1, seed, shape: "tenants" });
  const addresses = model.endpoints.flatMap((pod) => pod.addresses.slice(0, 1));
  const writer = new PcapWriter(PACKET_LINK_TYPE);
  const seen = new Uint32Array(flows);
  for (let number = 0; number < packets; number++) {
    // Every flow in turn, in an order without a pattern (a step that shares no factor with their number).
    const flow = (number * 7919) % flows;
    const turn = seen[flow] ?? 0;
    seen[flow] = turn + 1;
    const ends = [addresses[flow % addresses.length], addresses[(flow * 31 + 1) % addresses.length]];
    const [source, destination] = turn % 2 === 0 ? ends : ends.toReversed();
    if (source === undefined || destination === undefined) throw new Error("a cluster without pods");
    const ports = turn % 2 === 0 ? [20_000 + (flow % 40_000), 80] : [80, 20_000 + (flow % 40_000)];
    const packet = makePacket({
      time: 1_764_000_000 + number * 1e-5,
      protocol: PROTOCOL.tcp,
      source,
      destination,
      sourcePort: ports[0] ?? 0,
      destinationPort: ports[1] ?? 0,
      tcpFlags: turn === 0 ? TCP_FLAG.S : turn === 1 ? TCP_FLAG.S | TCP_FLAG.A : TCP_FLAG.A,
      sequence: turn < 2 ? 1 : 2,
      acknowledgment: turn === 0 ? 0 : 2,
      payloadBytes: turn < 2 ? 0 : PAYLOAD_BYTES,
    });
    writer.frame({ ...packetFrame(packet), interfaceId: 0 });
  }
  return { model, bytes: writer.take(), packets };
}

/** The capture as a file, for as long as `use` takes. */
export async function asFile<T>(bytes: Uint8Array, use: (file: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "chainwalk-bench-"));
  try {
    const file = join(folder, "capture.pcap");
    writeFileSync(file, bytes);
    return await use(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds from the file to columns. */
export async function columnsMs(file: string, { packets }: Capture, clock: Clock): Promise<number> {
  const start = clock();
  const source = await openTraffic(readAhead(() => open(file)));
  let rows = 0;
  for await (const batch of source.batches()) rows += batch.packets.length;
  const took = clock() - start;
  if (rows !== packets) throw new Error(`${rows} of ${packets} packets were read`);
  return took;
}

/** Milliseconds from the file to a verdict for every packet; the manifests are compiled before. */
export async function verdictsMs(file: string, { model, packets }: Capture, clock: Clock): Promise<number> {
  const cluster = resolvePolicies(model);
  const side = strategySide({ name: "side", cluster, capacity: BATCH_ROWS, strategy: kubeRouter });
  const replay = new Replay({ sides: [side], main: 0, book: new AddressBook([model]) }, BATCH_ROWS);
  const start = clock();
  const source = await openTraffic(readAhead(() => open(file)));
  for await (const batch of source.batches()) replay.consume(batch);
  const took = clock() - start;
  if (replay.index !== packets) throw new Error(`${replay.index} of ${packets} packets were replayed`);
  return took;
}

/** Another reader of captures, by how it is called. Each prints a line a packet. */
export interface CaptureReader {
  readonly name: string;
  readonly command: string;
  readonly flags: readonly string[];
}

export const CAPTURE_READERS: readonly CaptureReader[] = [
  { name: "tcpdump -r", command: "tcpdump", flags: ["-n", "-q", "-r"] },
  { name: "tshark -r", command: "tshark", flags: ["-n", "-r"] },
];

/** Whether its command is on the path; starting tshark to ask it takes a third of a second. */
export function isHere({ command }: CaptureReader): boolean {
  return spawnSync("sh", ["-c", `command -v ${command}`], { stdio: "ignore" }).status === 0;
}

/** Milliseconds of the whole process. */
export function readerMs(file: string, { command, flags }: CaptureReader, clock: Clock): number {
  const start = clock();
  const { status, error } = spawnSync(command, [...flags, file], { stdio: "ignore" });
  if (error !== undefined || status !== 0) throw new Error(`${command}: ${error?.message ?? `ended with ${status}`}`);
  return clock() - start;
}
