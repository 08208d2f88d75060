/** An external command as an opponent in `fuzz`: packet lines in, result lines out, as `trace --packets` has them. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Verdict } from "../dataplane/verdict.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import type { Outsider } from "../verify/fuzz/contest.ts";
import { clusterText } from "../verify/fuzz/finding.ts";
import { UsageError } from "./io.ts";

export const COMMAND = "command:";

/** A command that has not ended after so long is ended. */
const LONGEST_MS = 60_000;

/**
 * `text`: for the shell; `{}` in it is replaced by the path of the manifests. Who does not answer, or not in result lines,
 * cannot be held against anybody: that is the user's to mend, not a finding and no agreement either.
 */
export function commandOutsider(text: string, longestMs = LONGEST_MS): Outsider {
  const unfit = (what: string) => new UsageError(`--against ${COMMAND}${text}: ${what}`);
  return {
    name: `${COMMAND}${text}`,
    means: "passing",
    async verdicts({ trial }) {
      const folder = await mkdtemp(join(tmpdir(), "chainwalk-fuzz-"));
      try {
        const manifests = join(folder, "cluster.yaml");
        await writeFile(manifests, clusterText(trial.cluster.model));
        const lines = trial.packets.map((packet, id) => `${JSON.stringify({ id, ...packetToObject(packet) })}\n`);
        const ended = await run(text.replaceAll("{}", manifests), lines.join(""), longestMs);
        if (ended.reason !== undefined) throw unfit(ended.reason);
        const verdicts = verdictsOf(ended.output, trial.packets.length);
        if (typeof verdicts === "string") throw unfit(verdicts);
        return verdicts;
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

interface Ended {
  readonly output: string;
  /** Why it cannot be believed. */
  readonly reason: string | undefined;
}

function run(command: string, input: string, longestMs: number): Promise<Ended> {
  return new Promise((resolve, reject) => {
    // A group of its own, so that what the shell starts ends with it and does not hold its output open. Ctrl-C is ours to hear.
    const child = spawn("/bin/sh", ["-c", command], { stdio: ["pipe", "pipe", "inherit"], detached: true });
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    }, longestMs);
    const pieces: string[] = [];
    child.stdout.setEncoding("utf8").on("data", (piece: string) => pieces.push(piece));
    // A command that does not listen to the end is judged by what it says.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.once("error", reject);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      let reason: string | undefined;
      if (isLate) reason = `it did not end within ${longestMs / 1000} s`;
      else if (signal !== null) reason = `it was ended by ${signal}`;
      else if (code !== 0 && code !== 1) reason = `it ended with exit code ${code}`;
      resolve({ output: pieces.join(""), reason });
    });
  });
}

/** Results tell which packet they are about by its id, else by their own index or order. A text: what is wrong with them. */
function verdictsOf(output: string, count: number): readonly (Verdict | undefined)[] | string {
  const verdicts = new Map<number, Verdict | undefined>();
  for (const [number, line] of output
    .split("\n")
    .filter((one) => one !== "")
    .entries()) {
    const result = parsed(line);
    const { id, index, verdict } = typeof result === "object" && result !== null ? (result as ResultLine) : {}; // checked below
    const at = typeof id === "number" ? id : typeof index === "number" ? index : number;
    const said = VERDICTS.find((one) => one === verdict);
    if (said === undefined) return `its line ${number + 1} is no result line: ${line.slice(0, 100)}`;
    if (!Number.isInteger(at) || at < 0 || at >= count)
      return `its line ${number + 1} is about packet ${at}, there are ${count}`;
    verdicts.set(at, said === "unknown" ? undefined : said);
  }
  if (verdicts.size < count) return `it answered ${verdicts.size} of ${count} packets`;
  return Array.from({ length: count }, (_, at) => verdicts.get(at));
}

/** Who says `unknown` says nothing about the packet. */
const VERDICTS = ["accept", "drop", "reject", "unknown"] as const;

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

interface ResultLine {
  readonly id?: unknown;
  readonly index?: unknown;
  readonly verdict?: unknown;
}
