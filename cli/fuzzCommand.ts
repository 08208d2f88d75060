/** An external command as an opponent in `fuzz`: packet lines in, result lines out, as `trace --packets` has them. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Verdict } from "../dataplane/verdict.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import type { Outsider } from "../verify/fuzz/contest.ts";
import { clusterText } from "../verify/fuzz/finding.ts";

export const COMMAND = "command:";

/** A command that answers nothing for so long is ended. */
const LONGEST_MS = 60_000;

/** `text`: for the shell; `{}` in it is replaced by the path of the manifests. */
export function commandOutsider(text: string): Outsider {
  return {
    name: `${COMMAND}${text}`,
    means: "passing",
    async verdicts({ trial }) {
      const folder = await mkdtemp(join(tmpdir(), "chainwalk-fuzz-"));
      try {
        const manifests = join(folder, "cluster.yaml");
        await writeFile(manifests, clusterText(trial.cluster.model));
        const lines = trial.packets.map((packet, id) => `${JSON.stringify({ id, ...packetToObject(packet) })}\n`);
        const output = await run(text.replaceAll("{}", manifests), lines.join(""));
        return verdictsOf(output, trial.packets.length);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

function run(command: string, input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", command], { stdio: ["pipe", "pipe", "inherit"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), LONGEST_MS);
    const pieces: string[] = [];
    child.stdout.setEncoding("utf8").on("data", (piece: string) => pieces.push(piece));
    // A command that does not listen to the end is judged by what it says.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.once("error", reject);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      if (signal !== null) reject(new Error(`${command}: ended by ${signal}`));
      else if (code !== 0 && code !== 1) reject(new Error(`${command}: exit code ${code}`));
      else resolve(pieces.join(""));
    });
  });
}

/** Results tell which packet they are about by its id, else by their own index or order. */
function verdictsOf(output: string, count: number): readonly (Verdict | undefined)[] {
  const verdicts = new Array<Verdict | undefined>(count).fill(undefined);
  for (const [number, line] of output
    .split("\n")
    .filter((one) => one !== "")
    .entries()) {
    const result: unknown = JSON.parse(line);
    const { id, index, verdict } = typeof result === "object" && result !== null ? (result as ResultLine) : {}; // checked below
    const at = typeof id === "number" ? id : typeof index === "number" ? index : number;
    if (verdict === "accept" || verdict === "drop" || verdict === "reject") verdicts[at] = verdict;
    else throw new Error(`no result line: ${line.slice(0, 100)}`);
  }
  return verdicts;
}

interface ResultLine {
  readonly id?: unknown;
  readonly index?: unknown;
  readonly verdict?: unknown;
}
