/** The Linux kernel of this machine as an opponent: it loads the accused's own programs and gets the same packets. */
import { isTables } from "../kernel/campaign.ts";
import { KernelJudge, subjectOf } from "../kernel/judge.ts";
import type { Outsider } from "./contest.ts";

export const KERNEL = "kernel";

export function kernelOutsider(): Outsider {
  return {
    name: KERNEL,
    means: "exact",
    async verdicts({ programs, trial, actual }) {
      const tables = programs.filter(isTables);
      if (tables.length === 0) return [];
      const judge = await KernelJudge.start(tables.map(subjectOf), { variant: "legacy", walks: false });
      try {
        const { differences } = await judge.run(trial.packets);
        const theirs = new Map(differences.map(({ index, expected }) => [index, expected]));
        return trial.packets.map((_, index) => theirs.get(index) ?? actual(index));
      } finally {
        await judge.close();
      }
    },
  };
}
