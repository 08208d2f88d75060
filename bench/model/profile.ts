/** Calibration profiles: what each kind of work costs a kernel, and on which machine that was found. */
import * as z from "zod/mini";

z.config(z.locales.en());

const coefficientSchema = z.object({
  /** Nanoseconds each. */
  ns: z.number(),
  ci95: z.tuple([z.number(), z.number()]),
  /** What it is, for people. */
  what: z.optional(z.string()),
});

/** A cost that depends on how many entries there are: points by size, ascending. */
const curveSchema = z.array(
  z.object({ entries: z.number().check(z.positive()), ns: z.number(), ci95: z.tuple([z.number(), z.number()]) }),
);

const profileSchema = z.object({
  name: z.string(),
  /** How the kernel runs iptables rules. */
  variant: z.enum(["legacy", "nft"]),
  environment: z.record(z.string(), z.union([z.string(), z.number()])),
  coefficients: z.record(z.string(), coefficientSchema),
  curves: z._default(z.record(z.string(), curveSchema), {}),
  /** What commands of an update cost, by the names of `UPDATE_COST`. */
  updates: z._default(z.record(z.string(), coefficientSchema), {}),
});

export type Coefficient = z.infer<typeof coefficientSchema>;
export type Curve = z.infer<typeof curveSchema>;
export type CostProfile = z.infer<typeof profileSchema>;

/** Text that is no profile; `message` names the first thing wrong and where. */
export class NotAProfile extends Error {
  override readonly name = "NotAProfile";
}

/** Throws `NotAProfile`. */
export function readProfile(text: string): CostProfile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new NotAProfile(error instanceof Error ? error.message : String(error));
  }
  const { success, data, error } = profileSchema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  throw new NotAProfile(`${issue?.path.join(".") || "the whole"}: ${issue?.message}`);
}
