/** A thread of a campaign: runs for a while each time it is told to go on, then reports. */
import { parentPort, workerData } from "node:worker_threads";
import { Campaign, type CampaignSettings, type JobReport } from "../verify/fuzz/campaign.ts";
import { SURROUNDINGS } from "./fuzzSurroundings.ts";

export type ToJob =
  | { readonly kind: "on" }
  /** The campaign is over: the thread ends after what it is about. */
  | { readonly kind: "end" }
  | {
      readonly kind: "learn";
      readonly files: Extract<JobReport, { kind: "kept" }>["files"];
      readonly features: readonly number[];
    };

export interface FromJob {
  readonly reports: readonly JobReport[];
}

/** Long enough that messages cost nothing, short enough to stop soon. */
const SHIFT_MS = 100;

const port = parentPort;
if (port !== null) {
  const campaign = new Campaign(workerData as CampaignSettings, SURROUNDINGS); // as fuzzJobs.ts starts it
  let isOver = false;
  port.on("message", async (message: ToJob) => {
    if (message.kind === "end") {
      isOver = true;
      port.close();
      return;
    }
    if (message.kind === "learn") {
      campaign.learn(message.files, message.features);
      return;
    }
    const reports: JobReport[] = [];
    let runs = 0;
    for (const until = performance.now() + SHIFT_MS; !isOver && performance.now() < until; ) {
      for (const report of await campaign.step()) {
        if (report.kind === "ran") runs += report.runs;
        else reports.push(report);
      }
    }
    if (isOver) return;
    const told: FromJob = { reports: [...reports, { kind: "ran", runs }] };
    port.postMessage(told);
  });
}
