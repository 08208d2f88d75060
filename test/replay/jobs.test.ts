import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../built.ts";
import { builtCommandLine } from "../cli/builtCommandLine.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { RECORDING } from "./threadsRecording.ts";

/** Threads need built modules, so the command line as users have it. */
let main: string;
const folder = mkdtempSync(join(tmpdir(), "chainwalk-jobs-"));
beforeAll(() => {
  if (process.env.CI === undefined) return;
  main = builtCommandLine();
  writeFileSync(join(folder, "t.jsonl"), RECORDING);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function argvOf(flags: readonly string[]): readonly string[] {
  return ["replay", "-f", join(ROOT, "scenarios/db-policy"), "t.jsonl", ...flags];
}

/** In a process of its own. */
function replay(...flags: readonly string[]) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [main, ...argvOf(flags)], {
    cwd: folder,
    timeout: 60_000,
  });
  return { out: stdout, err: stderr.toString(), code: status };
}

/** By one thread: this one. */
async function replayHere(...flags: readonly string[]) {
  const binary: Uint8Array[] = [];
  const { out, err, code } = await chainwalk(
    argvOf(flags).map((word) => word.replace(`${ROOT}/`, "")),
    { files: { "t.jsonl": RECORDING }, binary },
  );
  return { out: Buffer.concat([Buffer.from(out), ...binary]), err, code };
}

// Processes of several threads are CI's work; what they do, shares.test.ts asks in plain runs.
describe.runIf(process.env.CI !== undefined)("replay --jobs", () => {
  it.each([
    ["a report", "-o json -s kube-router,cilium-ebpf", /"flows":3\d\d/],
    ["flows as they end", "-o jsonl", /"from":"default\/db"/],
    ["an annotated recording", "-o pcapng", /kube-router: accept, new/],
  ])("several threads give what one gives, byte for byte, notes included: %s", async (_, text, known) => {
    const flags = text.split(" ");
    const one = await replayHere(...flags);
    expect(one.out.toString("latin1")).toMatch(known);
    const two = replay(...flags, "--jobs", "2");
    expect(Buffer.compare(two.out, one.out)).toBe(0);
    expect({ code: two.code, err: two.err }).toEqual({ code: one.code, err: one.err });
  });

  it("pieces of a recording, each of more bytes than a thread has waiting", () => {
    const packet = {
      protocol: "udp",
      source: "default/frontend",
      sourcePort: 50_000,
      destination: "default/db",
      destinationPort: 3306,
    };
    const names = ["first.jsonl", "second.jsonl"];
    for (const [number, name] of names.entries()) {
      // Spaces, which are read fast: 4 MB a file.
      const lines = Array.from({ length: 4 }, (_, at) =>
        JSON.stringify({ time: number * 100 + at, ...packet }).padEnd(1 << 20),
      );
      writeFileSync(join(folder, name), lines.join("\n"));
    }
    const { stdout, status } = spawnSync(
      process.execPath,
      [main, "replay", "-f", join(ROOT, "scenarios/db-policy"), ...names, "--jobs", "2", "-q"],
      { cwd: folder, timeout: 60_000 },
    );
    expect(stdout.toString()).toContain("8 packets in 1 flow");
    expect(status).toBe(0);
  });
});

describe.runIf(process.env.CI !== undefined)("replay --resume", () => {
  it.each([1, 2])("after a kill gives the report of a run that nobody killed: %i threads", async (jobs) => {
    const checkpoint = join(folder, "checkpoint");
    const flags = ["-o", "json", "--jobs", `${jobs}`, "--resume", checkpoint, "--checkpoint-seconds", "0"];
    const child = spawn(process.execPath, [main, ...argvOf(flags)], { cwd: folder, stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("close", resolve));
    for (let turn = 0; turn < 2000 && !existsSync(checkpoint) && child.exitCode === null; turn++) await sleep(5);
    child.kill("SIGKILL");
    await ended;
    expect(existsSync(checkpoint)).toBe(true);
    expect(await replayHere(...flags, "--keep-duplicates")).toMatchObject({
      code: 2,
      err: expect.stringContaining("other manifests, traffic or flags"),
    });
    const resumed = replay(...flags);
    expect(resumed.err).toMatch(/resumed after \d+ packets/);
    expect(resumed.out.toString()).toBe((await replayHere("-o", "json")).out.toString());
    expect(existsSync(checkpoint)).toBe(false);
  });
});
