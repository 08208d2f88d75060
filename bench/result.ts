/** Results: what one process found (`Finding`), what several amount to (`BenchResult`), and the report they stand in. */
import { z } from "zod";
import { type Bucket, Histogram } from "./histogram.ts";
import { type Interval, median, medianInterval, outlierCount, quantile } from "./statistics.ts";

export type Params = Readonly<Record<string, string | number>>;

/** One case as measured in one process. `rounds`: the median of each round, in order. */
export interface Finding {
  readonly name: string;
  readonly unit: string;
  readonly params: Params;
  readonly rounds: readonly number[];
  /** Of all samples; for what is timed only a few times, of the rounds. */
  readonly histogram: readonly Bucket[];
}

/** A case that nobody can measure, and why. */
export interface LeftOut {
  readonly name: string;
  readonly leftOut: string;
}

export interface BenchResult {
  /** `suite/param=value/…`, unique in a report. */
  readonly name: string;
  readonly unit: string;
  readonly params: Params;
  /** How many were taken, in all processes. */
  readonly samples: number;
  readonly median: number;
  readonly p01: number;
  readonly p50: number;
  readonly p99: number;
  /** Of the median. */
  readonly ci95: Interval;
  readonly processes: number;
  /** Medians of rounds, all processes one after the other: what a comparison tests. */
  readonly rounds: readonly number[];
  readonly histogram: readonly Bucket[];
  /** Reasons to doubt the numbers. */
  readonly warnings: readonly string[];
}

export interface BenchReport {
  readonly environment: Readonly<Record<string, string | number>>;
  readonly results: readonly BenchResult[];
}

/** `suite/param=value/…` */
export function resultName(suite: string, params: Params): string {
  return [suite, ...Object.entries(params).map(([key, value]) => `${key}=${value}`)].join("/");
}

/** The suite that a result belongs to. */
export function suiteOf({ name }: Pick<BenchResult, "name">): string {
  return name.split("/")[0] ?? name;
}

/** Half of the distance of the quartiles beyond which a median says little: 10 %. */
const NOISY = 0.1;
/** More outliers than this share are worth a word. */
const MANY_OUTLIERS = 0.1;

/** What the findings of several processes about one case amount to. Throws when there are none. */
export function mergeFindings(findings: readonly Finding[], seed: number): BenchResult {
  const [first] = findings;
  if (first === undefined) throw new Error("no findings to merge");
  const rounds = findings.flatMap((finding) => finding.rounds);
  const histogram = new Histogram();
  for (const finding of findings) histogram.addBuckets(finding.histogram);
  const groups = findings.map((finding) => finding.rounds);
  return {
    name: first.name,
    unit: first.unit,
    params: first.params,
    samples: histogram.total,
    median: median(rounds),
    p01: histogram.quantile(0.01),
    p50: histogram.quantile(0.5),
    p99: histogram.quantile(0.99),
    ci95: medianInterval(groups, seed),
    processes: findings.length,
    rounds,
    histogram: histogram.buckets,
    warnings: warningsAbout(groups),
  };
}

function warningsAbout(groups: readonly (readonly number[])[]): readonly string[] {
  const rounds = groups.flat();
  const warnings: string[] = [];
  const middle = median(rounds);
  const spread = (quantile(rounds, 0.75) - quantile(rounds, 0.25)) / 2 / middle;
  if (spread > NOISY) warnings.push(`noisy: half of the rounds are beyond ±${Math.round(spread * 100)} %`);
  const outliers = outlierCount(rounds);
  if (rounds.length >= 8 && outliers / rounds.length > MANY_OUTLIERS) {
    warnings.push(`${outliers} of ${rounds.length} rounds are outliers`);
  }
  const medians = groups.map((group) => median(group));
  const apart = Math.max(...medians) / Math.min(...medians);
  if (groups.length > 1 && apart > 1 + 2 * NOISY) {
    warnings.push(`processes differ by ${Math.round((apart - 1) * 100)} %`);
  }
  if (rounds.length < 4) warnings.push(`only ${rounds.length === 1 ? "one round" : `${rounds.length} rounds`}`);
  return warnings;
}

const paramsSchema = z.record(z.string(), z.union([z.string(), z.number()]));
const bucketSchema = z.tuple([z.number(), z.number()]);

const findingSchema = z.object({
  name: z.string(),
  unit: z.string(),
  params: paramsSchema,
  rounds: z.array(z.number()),
  histogram: z.array(bucketSchema),
});

const lineSchema = z.union([findingSchema, z.object({ name: z.string(), leftOut: z.string() })]);

/** JSON has no NaN: it writes null. */
const figure = z.number().or(z.null().transform(() => Number.NaN));

const reportSchema = z.object({
  environment: paramsSchema,
  results: z.array(
    z.object({
      name: z.string(),
      unit: z.string(),
      params: paramsSchema,
      samples: z.number(),
      median: figure,
      p01: figure,
      p50: figure,
      p99: figure,
      ci95: z.tuple([figure, figure]),
      processes: z.number().default(1),
      rounds: z.array(z.number()).default([]),
      histogram: z.array(bucketSchema).default([]),
      warnings: z.array(z.string()).default([]),
    }),
  ),
});

/** Text that is no report; `message` names the first thing wrong and where. */
export class NotAReport extends Error {
  override readonly name = "NotAReport";
}

/** Reads what `bench -o json` wrote. Throws `NotAReport`. */
export function readReport(text: string): BenchReport {
  return checked(reportSchema, text);
}

/** Reads one line of `bench -o findings`. Throws `NotAReport`. */
export function readFinding(line: string): Finding | LeftOut {
  return checked(lineSchema, line);
}

function checked<T>(schema: z.ZodType<T>, text: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new NotAReport(error instanceof Error ? error.message : String(error));
  }
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  throw new NotAReport(`${issue?.path.join(".") || "the whole"}: ${issue?.message}`);
}
