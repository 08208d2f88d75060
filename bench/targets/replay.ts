/** The target of replaying a capture: from the bytes of a file to a verdict for every packet, beside who only reads it. */
import { median } from "../statistics.ts";
import {
  asFile,
  CAPTURE_CLUSTER,
  CAPTURE_READERS,
  captureOf,
  isHere,
  readerMs,
  verdictsMs,
} from "../workloads/capture.ts";
import type { MeasureOptions, Target } from "./target.ts";

const PACKETS = 400_000;
const FLOWS = 10_000;
/** Runs of which the median counts; the first warms up. */
const RUNS = 4;

async function measureReplay({ seed, clock }: MeasureOptions) {
  const capture = captureOf({ packets: PACKETS, flows: FLOWS, seed });
  return asFile(capture.bytes, async (file) => {
    const rate = (ms: number): number => PACKETS / (ms * 1000);
    const ours: number[] = [];
    for (let run = 0; run < RUNS; run++) ours.push(rate(await verdictsMs(file, capture, clock)));
    const rates = new Map(
      CAPTURE_READERS.filter(isHere).map((reader) => [reader.name, rate(readerMs(file, reader, clock))]),
    );
    const shown = CAPTURE_READERS.map(({ name }) => {
      const found = rates.get(name);
      return found === undefined ? `${name} is not here` : `${name} prints ${found.toFixed(2)} M/s`;
    });
    const peer = rates.get("tcpdump -r");
    return {
      measured: median(ours.slice(1)),
      ...(peer !== undefined && { peer }),
      note: `${FLOWS} flows, ${CAPTURE_CLUSTER}; ${shown.join(", ")}`,
    };
  });
}

export const replayTargets: readonly Target[] = [
  {
    name: "capture replay, 64-byte captures",
    unit: "M packets/s",
    goal: 2,
    stretch: 10,
    better: "higher",
    peer: "tcpdump -r, which prints a line each",
    limitMs: 120_000,
    measure: measureReplay,
  },
];
