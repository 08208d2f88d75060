import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { describe, expect, it } from "vitest";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { formatAddress } from "../../dataplane/address.ts";
import { Replay, type ReplayState } from "../../replay/replay.ts";
import { type LoadedSetup, loadSetup } from "../../replay/setup.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import type { TrafficSource } from "../../traffic/source.ts";
import { resolverOf } from "../../verify/who.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { RECORDING } from "./threadsRecording.ts";

const ROWS = 8;
const CLUSTER = readFileSync(join(import.meta.dirname, "..", "..", "scenarios", "dual-stack", "cluster.yaml"), "utf8");

function loadedFor(strategy: string): LoadedSetup {
  const { loaded, issues } = loadSetup(
    {
      clusters: [{ files: [{ name: "cluster.yaml", text: CLUSTER }] }],
      sides: [{ name: strategy, cluster: 0, strategy, settings: [] }],
      main: 0,
    },
    ROWS,
  );
  if (loaded === undefined) throw new Error(JSON.stringify(issues));
  return loaded;
}

/** First connections of both families open; then only their other ends speak, which passes where the connection is known. */
function source({ sides }: LoadedSetup): Promise<TrafficSource> {
  const model = sides[0]?.cluster.model;
  if (model === undefined) throw new Error("no side");
  const pods = model.endpoints.filter(({ addresses }) => addresses.length > 0);
  const lines: string[] = [];
  let time = 1000;
  for (let round = 0; round < 16; round++) {
    const turn = round % 8;
    for (const [at, from] of pods.entries()) {
      const to = pods[(at + 1 + (turn % 3)) % pods.length];
      const [source, destination] = [from, to].map((pod) => pod?.addresses[turn % 2] ?? pod?.addresses[0]);
      if (source === undefined || destination === undefined || source.family !== destination.family) continue;
      const [sourceText, destinationText] = [formatAddress(source), formatAddress(destination)];
      if (sourceText === destinationText) continue;
      const protocol = turn % 4 === 3 ? "udp" : "tcp";
      const there = {
        protocol,
        source: sourceText,
        sourcePort: 40_000 + turn,
        destination: destinationText,
        destinationPort: 80,
      };
      const back = {
        protocol,
        source: destinationText,
        sourcePort: 80,
        destination: sourceText,
        destinationPort: 40_000 + turn,
      };
      const flags = (text: string) => (protocol === "tcp" ? { tcpFlags: text } : {});
      time += 0.1;
      if (round < 8) lines.push(JSON.stringify({ time, ...there, ...flags("S") }));
      lines.push(
        JSON.stringify({
          time,
          ...back,
          ...flags(round < 8 ? "SA" : "PA"),
          sequence: round < 8 ? 0 : 1,
          ...(protocol === "tcp" && { acknowledgment: 1 }),
        }),
      );
    }
  }
  async function* bytes() {
    yield new TextEncoder().encode(lines.join("\n"));
  }
  return openTraffic(bytes(), { resolve: resolverOf(model, "default"), batchRows: ROWS });
}

interface Outcome {
  readonly table: unknown;
  readonly timeline: unknown;
  readonly causes: unknown;
}

/** Reads everything; `stopAfter`: until so many batches, and then gives the state. */
async function run(
  strategy: string,
  { from, stopAfter }: { readonly from?: ReplayState; readonly stopAfter?: number },
) {
  const loaded = loadedFor(strategy);
  const { sides, book } = loaded;
  const replay = new Replay({ sides, main: 0, book }, ROWS);
  if (from !== undefined) replay.restore(from);
  let batches = 0;
  const traffic = await source(loaded);
  for await (const batch of traffic.batches()) {
    replay.consume(batch);
    if (++batches === stopAfter) return { state: replay.save(), outcome: undefined, batches };
  }
  const { table, timeline } = replay;
  const verdicts = table.ordered().map((slot) => ({
    tuple: table.tuple(slot),
    packets: table.packets(slot),
    verdict: table.sides[0]?.verdict[slot],
    byVerdict: [...(table.sides[0]?.packets.subarray(slot * 4, slot * 4 + 4) ?? [])],
    cause: sides[0]?.causes[table.sides[0]?.cause[slot] ?? 0],
  }));
  const outcome: Outcome = { table: verdicts, timeline: timeline.buckets(), causes: undefined };
  return { state: undefined, outcome, batches };
}

describe("a replay that goes on from what it left", () => {
  it.each(STRATEGIES.map((strategy) => strategy.name))("ends as one that was never stopped: %s", async (strategy) => {
    const whole = await run(strategy, {});
    expect(whole.batches).toBeGreaterThan(4);
    for (const stopAfter of [1, Math.floor(whole.batches / 2), whole.batches - 1]) {
      const { state } = await run(strategy, { stopAfter });
      // As a file holds it.
      const kept = deserialize(serialize(state)) as ReplayState;
      expect((await run(strategy, { from: kept })).outcome).toEqual(whole.outcome);
    }
  });

  it("forgets connections when it is told to begin anew, which shows: the test can fail", async () => {
    const whole = await run("kube-router", {});
    const { state } = await run("kube-router", { stopAfter: Math.floor(whole.batches / 2) });
    if (state === undefined) throw new Error("no state");
    const fresh = await run("kube-router", { stopAfter: 1 });
    if (fresh.state === undefined) throw new Error("no state");
    const emptied = {
      ...state,
      sides: state.sides.map((side, at) => ({ ...side, nodes: fresh.state?.sides[at]?.nodes ?? [] })),
    };
    expect((await run("kube-router", { from: emptied })).outcome).not.toEqual(whole.outcome);
  });
});

it("a checkpoint that cannot be written is said, and no bug", async () => {
  const flags = "--resume /dev/null/checkpoint --checkpoint-seconds 0";
  const missing = "--resume scenarios/no-such-folder/checkpoint --checkpoint-seconds 0";
  for (const each of [flags, missing]) {
    const { code, err } = await chainwalk(`replay -f scenarios/db-policy t.jsonl ${each}`, {
      files: { "t.jsonl": RECORDING },
    });
    expect({ code, err }).toEqual({
      code: 2,
      err: expect.stringMatching(/^error: \S+checkpoint(?: cannot be written)?: .+\n$/),
    });
  }
});

it("a folder that is not there is said before anything is read, not at the first checkpoint", async () => {
  const outcome = await chainwalk("replay -f nowhere.yaml t.jsonl --resume scenarios/no-such-folder/checkpoint", {
    files: { "t.jsonl": RECORDING },
  });
  expect(outcome).toMatchObject({
    code: 2,
    out: "",
    err: expect.stringMatching(/^error: scenarios\/no-such-folder\/checkpoint cannot be written: ENOENT.+\n$/),
  });
});

describe("an annotated recording that goes on from what it left", () => {
  /** Lines, which have no frames, twice: more than a batch; then the shop's packets, with frames and interfaces. */
  async function annotate(checkpoint: string | undefined, interrupted?: AbortSignal) {
    const binary: Uint8Array[] = [];
    const resume = checkpoint === undefined ? [] : ["--resume", checkpoint, "--checkpoint-seconds", "0"];
    const { err, code } = await chainwalk(
      [
        "replay",
        "-f",
        "scenarios/db-policy",
        "t.jsonl",
        "t.jsonl",
        "scenarios/recorded-shop/shop.pcap",
        "-o",
        "pcapng",
        ...resume,
      ],
      { files: { "t.jsonl": RECORDING }, binary, ...(interrupted && { interrupted }) },
    );
    return { bytes: Buffer.concat(binary), err, code };
  }

  it("is byte for byte the one of a run that nobody stopped, whatever was written after the last checkpoint", async () => {
    const folder = mkdtempSync(join(tmpdir(), "chainwalk-resume-"));
    try {
      const whole = await annotate(undefined);
      const checkpoint = join(folder, "checkpoint");
      const part = await annotate(checkpoint, AbortSignal.abort());
      expect(part.code).toBe(130);
      expect(part.bytes.length).toBeGreaterThan(100_000);
      expect(part.bytes.length).toBeLessThan(whole.bytes.length);
      appendFileSync(`${checkpoint}.draft`, "half a block");
      const resumed = await annotate(checkpoint);
      expect(resumed.err).toMatch(/resumed after \d+ packets/);
      expect(Buffer.compare(resumed.bytes, whole.bytes)).toBe(0);
      expect([checkpoint, `${checkpoint}.draft`].filter((file) => existsSync(file))).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("says so where the draft has gone, or several threads are asked for", async () => {
    const folder = mkdtempSync(join(tmpdir(), "chainwalk-resume-"));
    try {
      const checkpoint = join(folder, "checkpoint");
      await annotate(checkpoint, AbortSignal.abort());
      rmSync(`${checkpoint}.draft`);
      const { err, code } = await annotate(checkpoint);
      expect({ err, code }).toEqual({ err: expect.stringContaining(`${checkpoint}.draft, which belongs`), code: 2 });
      const refused = await chainwalk(`replay -f scenarios/db-policy x.pcap -o pcapng --jobs 2 --resume ${checkpoint}`);
      expect(refused).toMatchObject({ err: expect.stringContaining("one thread"), code: 2 });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
