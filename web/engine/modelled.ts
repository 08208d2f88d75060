/** Modelled time of a walk: its work counted by kind, through the bundled calibration profile. */
import { predict } from "../../bench/model/predict.ts";
import { readProfile } from "../../bench/model/profile.ts";
import { WorkCounter } from "../../bench/model/workCounts.ts";
import profileText from "../../bench/profiles/amd-epyc-vm.json?raw";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { TraceStep } from "../../dataplane/trace.ts";
import type { Modelled } from "../messages.ts";

const PROFILE = readProfile(profileText);

export function modelled(
  programs: readonly Program[],
  packet: Packet,
  steps: readonly TraceStep[],
): Modelled | undefined {
  let [ns, low, high] = [0, 0, 0];
  const unknown = new Set<string>();
  for (const program of programs) {
    const counter = new WorkCounter(program, packet);
    for (const step of steps) if (step.node === program.node) counter.step(step);
    const prediction = predict(counter.counts, PROFILE);
    ns += prediction.ns;
    low += prediction.ci95[0];
    high += prediction.ci95[1];
    for (const kind of prediction.unknown) unknown.add(kind);
  }
  return { ns, low, high, profile: PROFILE.name, unknown: [...unknown] };
}
