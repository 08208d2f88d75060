/** Work counts to nanoseconds, through a profile. */
import type { CostProfile, Curve } from "./profile.ts";
import type { WorkCounts } from "./workCounts.ts";

export interface Prediction {
  readonly ns: number;
  readonly ci95: readonly [low: number, high: number];
  /** Kinds of work that the profile has no cost for: they count as nothing. */
  readonly unknown: readonly string[];
}

/** What the work costs on the profile's machine. `except`: kinds that are left out, `conntrack new` for instance. */
export function predict(
  counts: WorkCounts,
  profile: CostProfile,
  except: (kind: string) => boolean = () => false,
): Prediction {
  let ns = 0;
  let low = 0;
  let high = 0;
  const unknown: string[] = [];
  for (const [kind, count] of counts) {
    if (except(kind)) continue;
    const cost = profile.coefficients[kind] ?? ofSize(kind, profile);
    if (cost === undefined) {
      unknown.push(kind);
      continue;
    }
    ns += count * cost.ns;
    low += count * cost.ci95[0];
    high += count * cost.ci95[1];
  }
  return { ns, ci95: [low, high], unknown };
}

/** `trie 5000`, `map 100`: between the points of the curve of that name. */
function ofSize(kind: string, { curves }: CostProfile): { ns: number; ci95: readonly [number, number] } | undefined {
  const [name = "", size] = kind.split(" ");
  const curve = curves[name];
  if (curve === undefined || size === undefined) return undefined;
  const entries = Math.max(1, Number(size));
  return {
    ns: between(curve, entries, ({ ns }) => ns),
    ci95: [between(curve, entries, ({ ci95 }) => ci95[0]), between(curve, entries, ({ ci95 }) => ci95[1])],
  };
}

/** In proportion to the logarithm of the size; beyond the ends as at the ends. */
function between(curve: Curve, entries: number, figureOf: (point: Curve[number]) => number): number {
  const after = curve.findIndex((point) => point.entries >= entries);
  const next = after < 0 ? curve.at(-1) : curve[after];
  const previous = after <= 0 ? next : curve[after - 1];
  if (next === undefined || previous === undefined) return 0;
  if (next.entries === previous.entries || after < 0) return figureOf(next);
  const share = Math.log(entries / previous.entries) / Math.log(next.entries / previous.entries);
  return figureOf(previous) + share * (figureOf(next) - figureOf(previous));
}
