import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { missingCapabilities, reasonAgainst } from "../../verify/kernel/capabilities.ts";
import { calibrate } from "../kernel/calibrate.ts";
import { isTold, validate } from "../kernel/validate.ts";
import { quantile } from "../statistics.ts";
import type { Target } from "./target.ts";

export const modelTargets: readonly Target[] = [
  {
    name: "modelled against measured kernel cost",
    unit: "% off",
    goal: 25,
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
      const errors: number[] = [];
      let untold = 0;
      for await (const row of validate({ strategies: STRATEGIES, profile: calibration.profile, seed, maps, proceed })) {
        if (isTold(row)) errors.push(Math.abs(row.error) * 100);
        else untold++;
      }
      const near = errors.filter((error) => error <= 25).length;
      const note = `the worst of ${errors.length} programs and connection states, median ${quantile(errors, 0.5).toFixed(0)} %, ${near} within 25 %; ${untold} more cannot be told from the noise of this machine`;
      return { measured: errors.length === 0 ? undefined : Math.max(...errors), note };
    },
  },
];
