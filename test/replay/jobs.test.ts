import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../built.ts";
import { builtCommandLine } from "../cli/builtCommandLine.ts";

/** Threads need built modules, so the command line as users have it. */
let main: string;
const folder = mkdtempSync(join(tmpdir(), "chainwalk-jobs-"));
beforeAll(() => {
  if (process.env.CI === undefined) return;
  main = builtCommandLine();
  writeFileSync(join(folder, "t.jsonl"), traffic());
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const PODS = ["default/db", "default/frontend", "default/intruder", "prod/api-pod", "kube-system/dns", "myns/mypod"];

/** Connections of all pods to all others, closed or not, tuples used twice, errors about them: more than one batch. */
function traffic(): string {
  const lines: object[] = [];
  for (let round = 0; round < 60; round++) {
    for (const [at, source] of PODS.entries()) {
      const destination = PODS[(at + 1 + (round % 5)) % PODS.length];
      const there = { protocol: "tcp", source, sourcePort: 40_000 + (round % 40), destination, destinationPort: 3306 };
      const back = {
        protocol: "tcp",
        source: destination,
        sourcePort: 3306,
        destination: source,
        destinationPort: there.sourcePort,
      };
      const time = round + at / 10;
      lines.push({ time, ...there, sequence: round }, { time, ...back, tcpFlags: "SA", acknowledgment: round + 1 });
      lines.push({ time, ...there, tcpFlags: "A", sequence: round + 1, acknowledgment: 1 });
      if (round % 3 === 0) lines.push({ time, ...there, tcpFlags: "FA" }, { time, ...back, tcpFlags: "FA" });
      if (round % 7 === 0) {
        const quoted = { protocol: "udp", source, sourcePort: 50_000, destination, destinationPort: 53 };
        lines.push({ time, ...quoted });
        lines.push({
          time,
          protocol: "icmp",
          source: destination,
          destination: source,
          icmpType: 3,
          icmpCode: 3,
          quoted,
        });
      }
    }
  }
  return lines.map((line) => JSON.stringify(line)).join("\n");
}

function replay(...flags: readonly string[]) {
  const argv = [main, "replay", "-f", "scenarios/db-policy", join(folder, "t.jsonl"), "-o", "json", ...flags];
  return spawnSync(process.execPath, argv, { cwd: ROOT, encoding: "utf8", timeout: 60_000 });
}

// Five processes of several threads are CI's work.
describe.runIf(process.env.CI !== undefined)("replay --jobs", () => {
  it("several threads give the report of one, byte for byte, notes included", () => {
    const one = replay("-s", "kube-router,cilium-ebpf");
    const three = replay("-s", "kube-router,cilium-ebpf", "--jobs", "3");
    expect(JSON.parse(one.stdout).totals.flows).toBeGreaterThan(300);
    expect(three.stdout).toBe(one.stdout);
    expect({ code: three.status, err: three.stderr }).toEqual({ code: one.status, err: one.stderr });
  });

  it("a filter is every thread's", () => {
    const flags = ["--filter", "src host default/db", "--verdict", "dropped"];
    const one = replay(...flags);
    expect(replay(...flags, "--jobs", "2").stdout).toBe(one.stdout);
    expect(JSON.parse(one.stdout).totals.filteredFlows).toBeGreaterThan(100);
  });
});

describe.runIf(process.env.CI !== undefined)("replay --resume", () => {
  it("after a kill gives the report of a run that nobody killed", async () => {
    const checkpoint = join(folder, "checkpoint");
    const flags = ["--resume", checkpoint, "--checkpoint-seconds", "0"];
    const argv = [main, "replay", "-f", "scenarios/db-policy", join(folder, "t.jsonl"), "-o", "json", ...flags];
    const child = spawn(process.execPath, argv, { cwd: ROOT, stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("close", resolve));
    for (let turn = 0; turn < 2000 && !existsSync(checkpoint) && child.exitCode === null; turn++) await sleep(5);
    child.kill("SIGKILL");
    await ended;
    expect(existsSync(checkpoint)).toBe(true);
    const other = replay(...flags, "--keep-duplicates");
    expect({ code: other.status, err: other.stderr }).toMatchObject({
      code: 2,
      err: expect.stringContaining("other manifests, traffic or flags"),
    });
    const resumed = replay(...flags);
    expect(resumed.stderr).toMatch(/resumed after \d+ packets/);
    expect(resumed.stdout).toBe(replay().stdout);
    expect(existsSync(checkpoint)).toBe(false);
  });
});
