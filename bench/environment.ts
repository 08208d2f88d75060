/** What a measurement was made on: without it a number says nothing. */
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os";
import type { Params } from "./result.ts";

const GIB = 2 ** 30;

export interface EnvironmentOptions {
  readonly seed: number;
  readonly processes: number;
  readonly version: string;
}

export function environmentOf({ seed, processes, version }: EnvironmentOptions): Params {
  const all = cpus();
  return {
    chainwalk: version,
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryGiB: Math.round(totalmem() / GIB),
    kernel: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    processes,
    seed,
    date: new Date().toISOString(),
  };
}

/** `Xeon @ 2.60GHz · linux 6.18 x64 · Node v20 · seed 1 · load 0.4 · 3 processes` */
export function formatEnvironment(environment: Params): string {
  const { cpu, cores, kernel, node, seed, load, processes, date } = environment;
  return `${cpu} × ${cores} · ${kernel} · Node ${node} · seed ${seed} · load ${load} · ${processes} processes · ${date}`;
}
