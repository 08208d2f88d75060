/**
 * What the kernel judge needed for each mistake, handed from its own test to the tables of docs/verification.md, which
 * `npm run docs:mutants` runs one after the other.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { SourceMutant } from "./mutantLoader.ts";

const FOLDER = join(import.meta.dirname, "..", "..", ".cache");
const FILE = join(FOLDER, "kernel-mutants.txt");

/** `caught`: where, `program 7: ...`; undefined: nowhere. Written only when all bugs are planted. */
export function noteCaught({ name, file }: SourceMutant, caught: string | undefined): void {
  const place = /^(program|cluster|round) (\d+)/.exec(caught ?? "");
  if (process.env.PLANT_ALL !== "1" || place === null) return;
  mkdirSync(FOLDER, { recursive: true });
  appendFileSync(FILE, `${file} ${name}\t${place[1]}s\t${Number(place[2]) + 1}\n`);
}

/** The last note of the mistake. */
export function noteOf({ name, file }: SourceMutant): { readonly unit: string; readonly count: number } | undefined {
  if (!existsSync(FILE)) return undefined;
  const lines = readFileSync(FILE, "utf8")
    .split("\n")
    .map((line) => line.split("\t"));
  const [, unit, count] = lines.findLast(([key]) => key === `${file} ${name}`) ?? [];
  return unit === undefined ? undefined : { unit, count: Number(count) };
}
