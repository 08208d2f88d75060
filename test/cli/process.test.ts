/** What only a real process shows: pipes, signals, memory. Runs the built command line. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../built.ts";
import { isWhole } from "../extent.ts";
import { builtCommandLine } from "./builtCommandLine.ts";
import { linesOf } from "./commandLine.ts";

let main: string;

beforeAll(() => {
  main = builtCommandLine();
}, 60_000);

/** Prints the most memory the process ever had, in KiB (getrusage(2)), when it ends. */
const TELL_MEMORY = "data:text/javascript,process.on('exit',()=>console.error('peak',process.resourceUsage().maxRSS))";

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, ["--import", TELL_MEMORY, main, ...args], { cwd: ROOT });
}

const TRACE = ["trace", "-f", "scenarios/db-policy", "--packets", "-", "-o", "jsonl"];

function packetLine(index: number): string {
  const sourcePort = 40_000 + (index % 50);
  return `${JSON.stringify({ id: index, protocol: "tcp", source: "prod/api-pod", sourcePort, destination: "default/db", destinationPort: 3306 })}\n`;
}

function* packetLines(count: number): Generator<string> {
  for (let index = 0; index < count; index++) yield packetLine(index);
}

async function streamed(
  count: number,
): Promise<{ readonly lines: number; readonly peakKib: number; readonly code: unknown }> {
  const child = start(TRACE);
  if (child.stdin === null || child.stdout === null || child.stderr === null) throw new Error("no pipes");
  let lines = 0;
  let errors = "";
  child.stdout.on("data", (piece: Buffer) => {
    lines += piece.toString().split("\n").length - 1;
  });
  child.stderr.on("data", (piece: Buffer) => {
    errors += piece.toString();
  });
  const [[code]] = await Promise.all([once(child, "close"), pipeline(Readable.from(packetLines(count)), child.stdin)]);
  return { lines, peakKib: Number(/peak (\d+)/.exec(errors)?.[1]), code };
}

describe("the process", () => {
  const packets = isWhole ? 120_000 : 60_000;
  it(`${packets} packets through trace --packets - keep memory flat`, async () => {
    // Until then the garbage collector lets the heap grow to the size at which it looks.
    const few = await streamed(packets / 3);
    const many = await streamed(packets);
    expect([few.code, few.lines, many.code, many.lines]).toEqual([0, packets / 3, 0, packets]);
    // Of 120,000, the 80,000 more packets and results are 45 MB of text.
    expect(many.peakKib - few.peakKib).toBeLessThan(40 * 1024);
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
    expect([code, errors.replace(/peak \d+\n/, "")]).toEqual([0, ""]);
  });
});
