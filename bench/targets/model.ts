import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { missingCapabilities, reasonAgainst } from "../../verify/kernel/capabilities.ts";
import { calibrate } from "../kernel/calibrate.ts";
import { isTold, type Validation, validate } from "../kernel/validate.ts";
import { quantile } from "../statistics.ts";
import type { Target } from "./target.ts";

const GOAL = 25;

function nameOf({ strategy, policies, state, predicted, measured, noise }: Validation): string {
  const ns = (value: number) => value.toFixed(0);
  return `${strategy}, ${policies} policies, ${state}: ${ns(predicted)} ns predicted, ${ns(measured)} ± ${ns(noise)} measured`;
}

export const modelTargets: readonly Target[] = [
  {
    name: "modelled against measured kernel cost",
    unit: "% off",
    goal: GOAL,
    stretch: 10,
    better: "lower",
    limitMs: 290_000,
    async measure({ seed }) {
      const missing = await missingCapabilities();
      const reason = reasonAgainst(missing, "judge");
      if (reason !== undefined) return { measured: undefined, note: `the kernel cannot be measured here: ${reason}` };
      const maps = reasonAgainst(missing, "bpf") === undefined;
      const proceed = async () => true;
      const options = { name: "target", variant: "legacy", environment: {}, seed, passes: 4, maps, proceed } as const;
      const calibration = await calibrate(options);
      if (calibration === undefined) return { measured: undefined, note: "the calibration was stopped" };
      const told: Validation[] = [];
      let untold = 0;
      for await (const row of validate({ strategies: STRATEGIES, profile: calibration.profile, seed, maps, proceed })) {
        if (isTold(row)) told.push(row);
        else untold++;
      }
      const errors = told.map(({ error }) => Math.abs(error) * 100);
      const near = errors.filter((error) => error <= GOAL).length;
      const worst = told.toSorted((a, b) => Math.abs(b.error) - Math.abs(a.error))[0];
      const note = `the worst of ${told.length} programs and connection states${worst === undefined ? "" : ` (${nameOf(worst)})`}, median ${quantile(errors, 0.5).toFixed(0)} %, ${near} within ${GOAL} %; ${untold} more cannot be told from the noise of this machine`;
      return { measured: errors.length === 0 ? undefined : Math.max(...errors), note };
    },
  },
];
