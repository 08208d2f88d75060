/** What the threads of `replay --jobs` do, in this one: their shares one after the other, put together as they come. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Io } from "../../cli/io.ts";
import { Rounds } from "../../cli/replayJobs.ts";
import { type ReplayFormat, ReplayOutput } from "../../cli/replayOutput.ts";
import { ReplayShare } from "../../cli/replayShare.ts";
import { Session } from "../../cli/session.ts";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { SWEEP_ROWS } from "../../replay/replay.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import { chainwalk, linesOf } from "../cli/commandLine.ts";
import { isWhole } from "../extent.ts";
import { RECORDING } from "./threadsRecording.ts";

const CLUSTER = "scenarios/db-policy/cluster.yaml";
const FILTER = "dst port 53 or src host default/frontend";

interface Given {
  readonly bytes: Uint8Array;
  readonly format: ReplayFormat;
  readonly threads: number;
  readonly expression?: string;
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** What all threads write, each reading in pieces of its own. */
async function written({ bytes, format, threads, expression }: Given): Promise<Buffer> {
  const encoder = new TextEncoder();
  const parts: Uint8Array[] = [];
  const write = async (data: string | Uint8Array): Promise<void> => {
    parts.push(typeof data === "string" ? encoder.encode(data) : data.slice());
  };
  const session = new Session({ stdout: { write, isTerminal: false, columns: undefined } } as unknown as Io);
  const output = new ReplayOutput({ format, comparison: "none", top: 20, session });
  output.begin([]);
  const rounds = new Rounds(
    threads,
    (told) => output.round(told),
    () => {},
  );
  const text = readFileSync(join(import.meta.dirname, "..", "..", CLUSTER), "utf8");
  // The last one first: who says it when must not matter.
  for (let index = threads - 1; index >= 0; index--) {
    const share = new ReplayShare(
      {
        setup: {
          clusters: [{ files: [{ name: CLUSTER, text }] }],
          sides: [{ name: "kube-router", cluster: 0, strategy: "kube-router", settings: [] }],
          main: 0,
        },
        filter: { hubble: [], namespace: "default", ...(expression !== undefined && { expression }) },
        namespace: "default",
        duplicates: "counted once",
        share: { index, of: threads },
        names: ["-"],
        ahead: [],
        told: output.told,
        from: undefined,
      },
      { packets: () => {}, round: async (told) => rounds.add(index, told) },
    );
    const stdin = pieces(bytes, 40_000 + 7000 * index);
    await share.read({ stdin, readStream: () => stdin, kindOf: async () => "file", sizeOf: async () => undefined });
  }
  await output.flush();
  await session.out.flush();
  return Buffer.concat(parts);
}

/** Datagrams that nobody answers: flows end all the time, but for one that goes on to the end. */
function questions(count: number): Uint8Array {
  const addresses = ["10.10.1.10", "10.10.2.10", "10.10.1.12"].map((text) => parseAddress(text));
  const writer = new PcapWriter(PACKET_LINK_TYPE);
  for (let number = 0; number < count; number++) {
    const [source, destination] = [addresses[number % 3], addresses[(number + 1) % 3]];
    if (source === undefined || destination === undefined) throw new Error("no address");
    const ends = {
      source,
      destination,
      sourcePort: number % 300 === 0 ? 99 : 1024 + (number % 2000),
      destinationPort: number % 5 === 0 ? 53 : 80,
    };
    const frame = packetFrame(makePacket({ ...ends, protocol: PROTOCOL.udp, time: 1000 + number / 10 }));
    writer.frame({ ...frame, interfaceId: 0 });
  }
  return writer.take();
}

// So many packets that threads sweep: what there is to tell them apart in an order of their own.
it.runIf(isWhole)(
  "flows that end are written in the order in which one thread writes them, a filter's as well",
  async () => {
    const bytes = questions(SWEEP_ROWS + 500);
    const one = await chainwalk(["replay", "-f", CLUSTER, "-", "-o", "jsonl", "--filter", FILTER], {
      stdin: pieces(bytes, bytes.length),
    });
    const two = await written({ bytes, format: "jsonl", threads: 2, expression: FILTER });
    expect(linesOf(one.out).length).toBeGreaterThan(2000);
    // Flows that end later stand before flows that began earlier: order is not that of the beginnings alone.
    const begins = linesOf(one.out).map((line): number => JSON.parse(line).firstTime);
    expect(begins.some((time, at) => time < (begins[at - 1] ?? 0))).toBe(true);
    // Not toBe: its difference of two long texts would take minutes.
    expect(two.toString() === one.out).toBe(true);
  },
);

it("annotated packets stand in the order of the recording, with one interface for all threads", async () => {
  const bytes = new TextEncoder().encode(RECORDING);
  const one = await written({ bytes, format: "pcapng", threads: 1 });
  expect(one.toString("latin1").match(/kube-router: \w+, \w+/g)?.length).toBeGreaterThan(1000);
  expect(Buffer.compare(await written({ bytes, format: "pcapng", threads: 3 }), one)).toBe(0);
});

it("flows that are told in parts come in order, and more is asked of who has none left", () => {
  const lines: string[] = [];
  const asked: number[] = [];
  const rounds = new Rounds(
    3,
    (told) => {
      const flows = told.flatMap((each) => (each.kind === "flows" ? each.flows : []));
      lines.push(...flows.toSorted((a, b) => a.firstIndex - b.firstIndex).map(({ line }) => line), "");
    },
    (worker) => asked.push(worker),
  );
  const tell = (worker: number, indices: readonly number[], isLast: boolean) =>
    rounds.add(worker, {
      kind: "flows",
      flows: indices.map((firstIndex) => ({ firstIndex, line: `${firstIndex} of ${worker}` })),
      isLast,
    });
  tell(0, [1, 4, 9], false);
  tell(2, [], true);
  // Somebody may be a round ahead.
  tell(2, [20], true);
  expect([lines, asked]).toEqual([[], []]);
  tell(1, [2, 3], false);
  expect([lines.splice(0), asked.splice(0)]).toEqual([["1 of 0", "2 of 1", "3 of 1", ""], [1]]);
  tell(1, [10], true);
  expect([lines.splice(0), asked.splice(0)]).toEqual([["4 of 0", "9 of 0", ""], [0]]);
  tell(0, [11], true);
  expect([lines.splice(0), asked.splice(0)]).toEqual([["10 of 1", "11 of 0", ""], []]);
  tell(0, [], true);
  tell(1, [21], true);
  expect([lines.splice(0), asked]).toEqual([["20 of 2", "21 of 1", ""], []]);
});
