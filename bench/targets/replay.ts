/** The target of replaying a capture: from the bytes of a file to a verdict for every packet, beside who only reads it. */
import { spawnSync } from "node:child_process";
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolvePolicies } from "../../compiler/compile.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { makePacket, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { AddressBook } from "../../replay/owners.ts";
import { Replay } from "../../replay/replay.ts";
import { strategySide } from "../../replay/side.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { BATCH_ROWS } from "../../traffic/source.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import { clusterOf } from "../workloads.ts";
import type { MeasureOptions, Target } from "./target.ts";

const PACKETS = 400_000;
const FLOWS = 10_000;
/** Runs of which the median counts; the first warms up. */
const RUNS = 4;
/** Payload that makes a frame of 64 bytes: IPv4 and TCP have 20 each. */
const PAYLOAD_BYTES = 24;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** 10,000 connections between the pods of a cluster on one node, their packets mixed: SYN, answer, then data both ways. */
function captureBytes(seed: number) {
  const model = clusterOf({ pods: 100, policies: 50, namespaces: 10, nodes: 1, seed, shape: "tenants" });
  const addresses = model.endpoints.flatMap((pod) => pod.addresses.slice(0, 1));
  const writer = new PcapWriter(PACKET_LINK_TYPE);
  const seen = new Uint32Array(FLOWS);
  for (let number = 0; number < PACKETS; number++) {
    // Every flow in turn, in an order without a pattern (a step that shares no factor with their number).
    const flow = (number * 7919) % FLOWS;
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
  return { model, bytes: writer.take() };
}

async function measureReplay({ seed, clock }: MeasureOptions) {
  const folder = mkdtempSync(join(tmpdir(), "chainwalk-bench-"));
  try {
    const file = join(folder, "replay.pcap");
    const { model, bytes } = captureBytes(seed);
    writeFileSync(file, bytes);
    const cluster = resolvePolicies(model);
    const strategy = strategyNamed("kube-router");
    if (strategy === undefined) throw new Error("no kube-router among the strategies");
    const ours: number[] = [];
    for (let run = 0; run < RUNS; run++) {
      const side = strategySide({ name: "side", cluster, capacity: BATCH_ROWS, strategy });
      const replay = new Replay({ sides: [side], main: 0, book: new AddressBook([model]) }, BATCH_ROWS);
      const start = clock();
      const source = await openTraffic(createReadStream(file, { highWaterMark: 1 << 20 }));
      for await (const batch of source.batches()) replay.consume(batch);
      ours.push(PACKETS / ((clock() - start) * 1000));
      if (replay.index !== PACKETS) throw new Error(`${replay.index} of ${PACKETS} packets were replayed`);
    }
    const rate = (command: string, flags: readonly string[]): number | undefined => {
      const start = clock();
      const { status } = spawnSync(command, [...flags, file], { stdio: "ignore" });
      return status === 0 ? PACKETS / ((clock() - start) * 1000) : undefined;
    };
    const tcpdump = rate("tcpdump", ["-n", "-q", "-r"]);
    const tshark = rate("tshark", ["-n", "-r"]);
    const shown = (value: number | undefined): string =>
      value === undefined ? "is not here" : `${value.toFixed(2)} M/s`;
    return {
      measured: median(ours.slice(1)),
      ...(tcpdump !== undefined && { peer: tcpdump }),
      note: `${FLOWS} flows, 100 pods, 50 policies, kube-router, one node; tcpdump -r prints ${shown(tcpdump)}, tshark -r ${shown(tshark)}`,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const replayTargets: readonly Target[] = [
  {
    name: "capture replay, 64-byte captures",
    unit: "M packets/s",
    goal: 2,
    stretch: 10,
    better: "higher",
    peer: "tcpdump -r, which prints a line each",
    limitMs: 120_000,
    measure: measureReplay,
  },
];
