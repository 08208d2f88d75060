/** What only the whole command shows: a real mistake from the kernel to the user, and what a killed judge leaves behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { cacheFolder } from "../../verify/kernel/helper.ts";
import { ROOT } from "../built.ts";
import { builtCommandLine } from "../cli/builtCommandLine.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { isWhole, sampled } from "../extent.ts";
import { startMutantLoader } from "../mutants/mutantLoader.ts";
import { hasKernel } from "./kernel.ts";

const CLUSTER = "scenarios/db-policy/cluster.yaml";

describe.runIf(hasKernel("bridge"))("a mistake in our evaluator", () => {
  // Making it small asks the kernel some hundred times.
  it.runIf(isWhole)(
    "is found by verify --kernel, made small, written down, and shown again by the line printed",
    {
      timeout: 600_000,
    },
    async () => {
      const loader = await startMutantLoader();
      try {
        const mistake = {
          name: "marks are not compared",
          file: "dataplane/tables/matches.ts",
          find: "((packet.mark & b) === a)",
          replace: "(packet.mark === 77)",
        };
        const { runCli: run } = await loader.load(mistake, "cli/run.ts");
        const saved = new Map<string, string>();
        const first = await chainwalk(`verify --kernel -f ${CLUSTER} --packets 3000 --seed 5`, { run, saved });
        expect(first.code).toBe(1);
        expect(first.out).toMatch(/differences or more \(seed 5\)$/m);
        // One line, which names the folder and repeats the finding.
        const [, folder = "", again = ""] = /^error: .* is in (\S+); again: chainwalk (.*)\n$/.exec(first.err) ?? [];
        expect([...saved.keys()]).toEqual([`${folder}/cluster.yaml`, `${folder}/scenario.yaml`]);
        expect((await chainwalk(again, { run })).out).toBe(first.out);
        // The least case has one pod, no policy that is not needed, and one packet.
        const { cluster = "", scenario = "" } = Object.fromEntries(
          [...saved].map(([name, text]) => [name.replace(/^.*\/|\.yaml$/g, ""), text]),
        );
        expect(cluster.match(/"kind":"Pod"/g)).toHaveLength(1);
        expect(cluster).not.toContain('"kind":"NetworkPolicy"');
        expect(JSON.parse(scenario).steps).toHaveLength(1);
        // It fails with the mistake and passes without.
        const files = Object.fromEntries(saved);
        expect((await chainwalk(`test ${folder} -s kube-router`, { files, run })).code).toBe(1);
        expect((await chainwalk(`test ${folder} -s kube-router`, { files })).code).toBe(0);
      } finally {
        await loader.close();
      }
    },
  );
});

describe.runIf(hasKernel("bridge"))("a judge that is stopped at its work", () => {
  let main: string;

  beforeAll(() => {
    main = builtCommandLine();
  }, 60_000);

  const childrenOf = (pid: number): readonly number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

  /** Whether the process runs. One that has ended is a zombie until its parent, here perhaps a sleepy init, asks. */
  const runs = (pid: number): boolean =>
    existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));

  const namespaceOf = (pid: number | "self"): string => readlinkSync(`/proc/${pid}/ns/net`);

  /** Namespaces of running processes. */
  const namespaces = (): ReadonlySet<string> =>
    new Set(
      readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .flatMap((pid) => {
          try {
            return runs(Number(pid)) ? [namespaceOf(Number(pid))] : [];
          } catch {
            return []; // has ended meanwhile
          }
        }),
    );

  /** What a judge changes in its own namespaces, as it is outside of them. */
  const outside = () => ({
    devices: readdirSync("/sys/class/net"),
    sysctls: ["net/ipv4/ip_forward", "net/ipv4/icmp_ratemask", "net/ipv6/conf/all/forwarding"]
      .concat("net/netfilter/nf_log/2", "net/netfilter/nf_conntrack_udp_timeout")
      .map((path) => (existsSync(`/proc/sys/${path}`) ? readFileSync(`/proc/sys/${path}`, "utf8") : undefined)),
    cache: readdirSync(cacheFolder()),
    checkout: readdirSync(ROOT),
  });

  /** Helpers of the driver whose namespaces are set up. */
  async function helpersOf(driver: ChildProcess): Promise<readonly number[]> {
    let helpers: readonly number[] = [];
    await expect
      .poll(
        () => {
          helpers = childrenOf(driver.pid ?? 0).filter(
            (pid) =>
              runs(pid) &&
              namespaceOf(pid) !== namespaceOf("self") &&
              readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("oracle-"),
          );
          return helpers.length;
        },
        { timeout: 30_000 },
      )
      .toBe(2);
    return helpers;
  }

  it.each(sampled(["SIGKILL", "SIGINT", "SIGTERM"] as const, 2))(
    "by %s leaves nothing",
    { timeout: 600_000 },
    async (signal) => {
      const before = outside();
      const args = ["verify", "--kernel", "-f", CLUSTER, "--packets", "10000000"];
      const driver = spawn(process.execPath, [main, ...args], { cwd: ROOT, stdio: "ignore" });
      const helpers = await helpersOf(driver);
      const own = helpers.map(namespaceOf);
      driver.kill(signal);
      const [code] = await once(driver, "exit");
      expect(code).toBe(signal === "SIGINT" ? 130 : null);
      await expect.poll(() => helpers.filter(runs), { timeout: 20_000 }).toEqual([]);
      await expect.poll(() => own.filter((one) => namespaces().has(one)), { timeout: 20_000 }).toEqual([]);
      expect(outside()).toEqual(before);
    },
  );
});
