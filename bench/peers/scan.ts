/** The scan in C (scan.c), and the rules and packets that all who scan are given. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Packet } from "../../dataplane/packet.ts";
import { compiledHelper } from "../../verify/kernel/helper.ts";
import { ruleSetPacket } from "../workloads/ruleSet.ts";

/** The build copies it beside the compiled driver. */
const SCAN_SOURCE = fileURLToPath(new URL("scan.c", import.meta.url));

export const RULES = 1_000;
/** Passes over all packets that are timed together. */
export const REPEATS = 20;

/** One packet for each rule: half of the rules are visited on average. */
export const PACKETS: readonly Packet[] = Array.from({ length: RULES }, (_, place) => ruleSetPacket(place, place));

function scanInput(): Uint8Array {
  const words: number[] = [RULES, RULES, REPEATS];
  const service = (6 << 16) | 8080;
  for (const { source } of PACKETS) words.push(source.words[0] ?? 0, -1, 0, 0, service);
  for (const { source, destination } of PACKETS) words.push(source.words[0] ?? 0, destination.words[0] ?? 0, service);
  return new Uint8Array(Int32Array.from(words).buffer);
}

/** Nanoseconds a packet of the C scan. Throws when it finds other rules than there are. */
export function scanNs(): number {
  const { stdout, status } = spawnSync(compiledHelper(SCAN_SOURCE), { input: scanInput(), encoding: "utf8" });
  const [ns, sum] = stdout.split(" ").map(Number);
  const expected = (REPEATS * RULES * (RULES - 1)) / 2;
  if (status !== 0 || ns === undefined || sum !== expected)
    throw new Error(`the C scan ended with ${status}, found ${sum}`);
  return ns;
}

/** The same, a rule visited: half of them are on average. */
export function scanNsPerRule(): number {
  return scanNs() / ((RULES + 1) / 2);
}

/** Why there is no scan in C here; undefined when there is one. */
export function withoutCompiler(): string | undefined {
  const { error } = spawnSync("gcc", ["--version"], { stdio: "ignore" });
  return error === undefined ? undefined : "no gcc";
}
