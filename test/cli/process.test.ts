/** What only a real process shows: pipes, signals, memory. Runs the built command line. */
import { type ChildProcess, execFileSync, type StdioOptions, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { untilInterrupted } from "../../cli/pipes.ts";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import { ROOT } from "../built.ts";
import { isWhole } from "../extent.ts";
import { builtCommandLine } from "./builtCommandLine.ts";
import { linesOf } from "./commandLine.ts";

let main: string;

beforeAll(() => {
  main = builtCommandLine();
}, 60_000);

function start(args: readonly string[], flags: readonly string[] = []): ChildProcess {
  return spawn(process.execPath, [...flags, main, ...args], { cwd: ROOT });
}

const TRACE = ["trace", "-f", "scenarios/db-policy", "--packets", "-", "-o", "jsonl"];

function packetLine(index: number): string {
  const sourcePort = 40_000 + (index % 50);
  return `${JSON.stringify({ id: index, protocol: "tcp", source: "prod/api-pod", sourcePort, destination: "default/db", destinationPort: 3306 })}\n`;
}

function* packetLines(count: number): Generator<string> {
  for (let index = 0; index < count; index++) yield packetLine(index);
}

/** What is loaded takes 20 MB of it. Packets and results that stayed would be more than the rest, as texts already. */
const SMALL_HEAP = ["--max-old-space-size=32", "--max-semi-space-size=1"] as const;

/** What is outside of such a heap, the program itself above all, is less. */
const MOST_BYTES = 160 << 20;

/** Prints what the process has when it ends. The most it ever had would be ours: exec(2) keeps the number of who starts it. */
const TELL_MEMORY = "data:text/javascript,process.on('exit',()=>console.error('resident',process.memoryUsage.rss()))";

/** There can be one as soon as somebody reads. */
async function firstWriter(pipe: string): Promise<number> {
  for (;;) {
    try {
      return openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENXIO")) throw error;
      await setTimeout(20);
    }
  }
}

const NOT_WRITTEN = /^error: .+ cannot be written: [^\n]+\n$/;

/** Exit code and stderr of a campaign whose corpus is to be there. */
async function corpusIn(folder: string): Promise<readonly [unknown, string]> {
  const child = start(["fuzz", "-s", "bpf-hash", "--runs", "1", "--corpus", folder, "-q"]);
  try {
    let err = "";
    child.stderr?.on("data", (piece: Buffer) => {
      err += piece.toString();
    });
    const [code] = await once(child, "close", { signal: AbortSignal.timeout(20_000) });
    return [code, err];
  } finally {
    child.kill("SIGKILL");
  }
}

/** Exit code, standard output and error of a command whose streams are files. */
function ended(args: readonly string[], stdio: StdioOptions): readonly [unknown, string, string] {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd: ROOT,
    stdio,
    encoding: "utf8",
    timeout: 30_000,
    killSignal: "SIGKILL",
  });
  return [status, stdout ?? "", stderr ?? ""];
}

describe("a stream that somebody else writes", () => {
  it("ends with what came, where it is interrupted before its end, and fails as it fails", async () => {
    const pieces = async (stream: Readable, interruption: AbortController) => {
      const found: string[] = [];
      for await (const piece of untilInterrupted(stream, interruption.signal)) {
        found.push(String(piece));
        queueMicrotask(() => interruption.abort());
      }
      return found;
    };
    const silent = new PassThrough();
    silent.write("one");
    expect(await pieces(silent, new AbortController())).toEqual(["one"]);
    const interrupted = new AbortController();
    interrupted.abort();
    expect(await pieces(new PassThrough(), interrupted)).toEqual([]);
    const broken = new PassThrough();
    broken.destroy(new Error("gone"));
    await expect(pieces(broken, new AbortController())).rejects.toThrow("gone");
  });
});

describe("the process", () => {
  const packets = isWhole ? 120_000 : 40_000;
  it(`${packets} packets through trace --packets - do not stay in memory`, async () => {
    const child = start(TRACE, [...SMALL_HEAP, "--import", TELL_MEMORY]);
    if (child.stdin === null || child.stdout === null || child.stderr === null) throw new Error("no pipes");
    let lines = 0;
    let errors = "";
    child.stdout.on("data", (piece: Buffer) => {
      for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, at + 1)) lines++;
    });
    child.stderr.on("data", (piece: Buffer) => {
      errors += piece.toString();
    });
    const written = pipeline(Readable.from(packetLines(packets)), child.stdin).catch(() => {}); // its end says why
    const [[code, signal]] = await Promise.all([once(child, "close"), written]);
    expect({ code, signal, lines }, errors).toEqual({ code: 0, signal: null, lines: packets });
    expect(Number(/resident (\d+)/.exec(errors)?.[1])).toBeLessThan(MOST_BYTES);
  });

  it("answers what has arrived without waiting for more", async () => {
    const child = start(TRACE);
    child.stdin?.write(packetLine(0));
    const [piece] = await once(child.stdout ?? child, "data");
    expect(JSON.parse(String(piece))).toMatchObject({ index: 0, verdict: "accept" });
    child.stdin?.end();
    expect((await once(child, "close"))[0]).toBe(0);
  });

  it("Ctrl-C while it waits for packets: what is done is there, exit 130", async () => {
    const child = start(TRACE);
    const out: string[] = [];
    child.stdout?.on("data", (piece: Buffer) => out.push(piece.toString()));
    child.stdin?.write(packetLine(0));
    await once(child.stdout ?? child, "data");
    child.kill("SIGINT");
    expect((await once(child, "close"))[0]).toBe(130);
    expect(linesOf(out.join(""))).toHaveLength(1);
  });

  it.each([
    ["recording", ["replay", "-f", "scenarios/db-policy"], "0 packets in 0 flows"],
    ["manifest", ["lint", "-f"], "interrupted while it was read"],
  ])("Ctrl-C while nothing comes through a named pipe for a %s: exit 130", async (_, args, said) => {
    const folder = mkdtempSync(join(tmpdir(), "chainwalk-pipe-"));
    try {
      const pipe = join(folder, "pipe");
      execFileSync("mkfifo", [pipe]);
      const child = start([...args, pipe]);
      let output = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on("data", (piece: Buffer) => {
          output += piece.toString();
        });
      }
      const writer = await firstWriter(pipe);
      child.kill("SIGINT");
      const [code] = await once(child, "close");
      closeSync(writer);
      expect([code, output]).toEqual([130, expect.stringContaining(said)]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("a place where nothing can be written is the user's to mend: exit 2, and no stack", async () => {
    const folder = mkdtempSync(join(tmpdir(), "chainwalk-nowhere-"));
    try {
      const file = join(folder, "file");
      writeFileSync(file, "");
      expect(await corpusIn(file)).toEqual([2, expect.stringMatching(NOT_WRITTEN)]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  // Node.js itself never ends there when it is asked for all folders of a path.
  it.runIf(process.platform === "linux")("so is a folder that can have none", async () => {
    expect(await corpusIn("/proc/none/deeper")).toEqual([2, expect.stringMatching(NOT_WRITTEN)]);
  });

  it("standard input that is a folder is said, and not taken for an empty one", () => {
    const folder = openSync(ROOT, "r");
    try {
      expect(ended(TRACE, [folder, "pipe", "pipe"])).toEqual([2, "", "error: standard input is a folder\n"]);
    } finally {
      closeSync(folder);
    }
  });

  // Memory of a process from address 0, which has none: the disk that fails, for tests.
  it.runIf(process.platform === "linux")("a file that cannot be read is the user's to mend", () => {
    const failing = "/proc/self/mem";
    for (const args of [
      ["trace", "-f", "scenarios/db-policy", "--packets", failing],
      ["replay", "-f", "scenarios/db-policy", failing],
      ["replay", "-f", "scenarios/db-policy", "--jobs", "2", failing],
    ]) {
      expect(ended(args, ["ignore", "pipe", "pipe"])).toEqual([2, "", `error: ${failing}: EIO: i/o error, read\n`]);
    }
  });

  it.runIf(process.platform === "linux")("output on a full disk ends with 2, and no stack", () => {
    const full = openSync("/dev/full", "w");
    const args = ["compile", "-f", "scenarios/db-policy", "--node", "node-a"];
    try {
      const said = "error: standard output cannot be written: ENOSPC: no space left on device, write\n";
      expect(ended(args, ["ignore", full, "pipe"])).toEqual([2, "", said]);
      expect(ended(["validate", "-f", "nowhere"], ["ignore", "pipe", full])).toEqual([2, "", ""]);
    } finally {
      closeSync(full);
    }
  });

  it.each(["--suggest", "--resume"])("%s reads twice: a pipe is refused before it is opened", (flag) => {
    const folder = mkdtempSync(join(tmpdir(), "chainwalk-pipe-"));
    try {
      const pipe = join(folder, "pipe");
      execFileSync("mkfifo", [pipe]);
      const args = ["replay", "-f", "scenarios/db-policy", pipe, flag];
      if (flag === "--resume") args.push(join(folder, "checkpoint"));
      const [code, out, err] = ended(args, ["ignore", "pipe", "pipe"]);
      expect([code, out, readdirSync(folder)]).toEqual([2, "", ["pipe"]]);
      expect(err).toContain(`name a file; ${pipe} is none that can be read twice`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("a reader that goes away ends it quietly", async () => {
    const child = start(TRACE);
    let errors = "";
    child.stderr?.on("data", (piece: Buffer) => {
      errors += piece.toString();
    });
    child.stdin?.on("error", () => {}); // the other end of our own pipe goes away with the process
    child.stdout?.once("data", () => child.stdout?.destroy());
    const [[code]] = await Promise.all([
      once(child, "close"),
      pipeline(Readable.from(packetLines(200_000)), child.stdin ?? process.stdout).catch(() => {}),
    ]);
    expect([code, errors]).toEqual([0, ""]);
  });
});

/** Each a flow of its own, in one minute over and over again: none ever ends, whatever the recording's length. */
function hurriedFlows(count: number): Uint8Array {
  const addresses = ["10.10.1.10", "10.10.2.10"].map((text) => parseAddress(text));
  const writer = new PcapWriter(PACKET_LINK_TYPE);
  for (let number = 0; number < count; number++) {
    const [source, destination] = addresses;
    if (source === undefined || destination === undefined) throw new Error("no address");
    const ports = { sourcePort: 1024 + (number % 60_000), destinationPort: 1 + Math.floor(number / 60_000) };
    const packet = { source, destination, ...ports, protocol: PROTOCOL.udp, time: 1000 + (number % 50) };
    writer.frame({ ...packetFrame(makePacket(packet)), interfaceId: 0 });
  }
  return writer.take();
}

describe("flows that all end with the recording", () => {
  const COUNT = 100_000;
  let folder: string;
  let recording: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "chainwalk-flows-"));
    recording = join(folder, "hurried.pcap");
    writeFileSync(recording, hurriedFlows(COUNT));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  // Their lines are some 40 MB.
  it.each([1, 2])("are written without having them all as text, by %i threads", async (threads) => {
    const args = ["replay", "-f", "scenarios/db-policy/cluster.yaml", recording, "-q", "-o", "jsonl"];
    const child = start([...args, "--jobs", String(threads)], SMALL_HEAP);
    let lines = 0;
    child.stdout?.on("data", (piece: Buffer) => {
      for (const byte of piece) if (byte === 10) lines++;
    });
    let err = "";
    child.stderr?.on("data", (piece: Buffer) => {
      err += piece.toString();
    });
    const [code] = await once(child, "close");
    expect({ code, lines, err }).toEqual({ code: 0, lines: COUNT, err: "" });
  });
});

describe("a campaign in threads", () => {
  it("leaves no folder of its commands behind, nor a command", async () => {
    const temporary = mkdtempSync(join(tmpdir(), "chainwalk-test-"));
    try {
      // Answers nothing: the campaign is over while the other thread's command still runs.
      const command = `command:sleep 1; echo > ${join(temporary, "ended")}`;
      const args = ["fuzz", "-s", "kube-router", "--jobs", "2", "--max-time", "30", "--against", command];
      const child = spawn(process.execPath, [main, ...args], { cwd: ROOT, env: { ...process.env, TMPDIR: temporary } });
      child.stdout.resume();
      child.stderr.resume();
      const [code] = await once(child, "close");
      expect(code).toBe(2);
      expect(readdirSync(temporary)).toEqual(["ended"]);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  }, 60_000);
});
